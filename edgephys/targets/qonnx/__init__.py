"""QONNX."""
