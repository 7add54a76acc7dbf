"""Emit, verify and report many models in order; a stopped run continues."""
