"""Graph -> edge processors: C and ONNX."""
