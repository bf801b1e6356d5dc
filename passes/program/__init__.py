"""Cutting graphs where only a run can tell how they go on."""
