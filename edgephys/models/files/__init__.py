"""Readers of model files: Keras and ONNX."""
