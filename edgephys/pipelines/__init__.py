"""Pipelines: compression stages in a row, what each of them bought, and the front of their best models."""
