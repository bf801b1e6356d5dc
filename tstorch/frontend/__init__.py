"""Reading ONNX: files, nodes and their ids, weights by reference."""
