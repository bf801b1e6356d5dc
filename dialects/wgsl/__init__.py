"""Structured WGSL: one shader module per kernel, each op with its spelling."""
