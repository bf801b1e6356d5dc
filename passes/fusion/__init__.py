"""Passes that decide what becomes one dispatch, and the text rules."""
