"""The levels of the IR, one dialect per phase; imported as tstorch.dialects."""
