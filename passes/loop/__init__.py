"""Passes on one kernel's loop nest."""
