"""Measure the latency of every target of a model, in turns on one core."""
