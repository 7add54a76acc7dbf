"""Quantised layers and the networks: each a config record -> keras.Model."""
