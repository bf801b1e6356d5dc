"""Rewrites between and within levels, one pass per file; imported as tstorch.passes."""
