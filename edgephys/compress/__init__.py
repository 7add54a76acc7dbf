"""Compression stages: each takes a trained Keras model and a task, and gives a smaller ordinary QKeras model back."""
