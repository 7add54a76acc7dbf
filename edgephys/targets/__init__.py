"""Targets: what a Graph is emitted to, a folder each."""
