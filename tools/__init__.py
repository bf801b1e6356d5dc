"""Command lines: argument parsing only; imported as tstorch.tools."""
