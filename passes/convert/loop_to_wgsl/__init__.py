"""The parts of convert-loop-to-wgsl."""
