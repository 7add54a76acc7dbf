"""Targets: what a Graph is emitted for, a folder each."""
