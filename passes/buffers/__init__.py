"""Passes that place values in memory."""
