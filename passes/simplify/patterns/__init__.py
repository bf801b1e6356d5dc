"""Canonicalization patterns, one file a dialect."""
