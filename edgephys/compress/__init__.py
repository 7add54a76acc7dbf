"""Compression: stages that make a trained model smaller, pipelines of stages, sweeps over a parameter."""
