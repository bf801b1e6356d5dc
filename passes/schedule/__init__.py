"""Passes that choose how a kernel runs: kind, tile, vector width, workgroup."""
