"""Jet tagging: data, networks, task and score."""
