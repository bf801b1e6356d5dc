"""Tensor primitives, one file per family: each op holds all its facts."""
