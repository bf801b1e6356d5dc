"""Passes that keep the level and make the program smaller."""
