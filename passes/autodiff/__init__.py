"""Passes that write gradients and optimizer steps as primitives."""
