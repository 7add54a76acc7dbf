"""Latency of every target of a model, taken in turns on one core, so that the figures can be believed."""
