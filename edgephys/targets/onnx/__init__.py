"""Standard ONNX."""
