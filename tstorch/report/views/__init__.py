"""What `tstorch-trace` shows of a trace: one file a view, each with data for `--json` and lines of text.

A view is a function `view(trace) -> View`. It reads the trace alone: no GPU, no model, no compiler.
"""
