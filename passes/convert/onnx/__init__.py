"""ONNX operators as primitives: one table per family, a function per operator."""
