"""Passes that put instruments into the program and measurements back onto it."""
