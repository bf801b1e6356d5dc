"""Passes that go from one level to the next."""
