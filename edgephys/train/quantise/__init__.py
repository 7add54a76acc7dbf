"""Quantise a float Keras model after its training: a QKeras model whose formats come from data."""
