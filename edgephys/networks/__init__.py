"""Quantised Keras layers, and what all networks have in common."""
