"""Text rules: rewrites and groups written as patterns, compiled to the driver that Python patterns use."""
