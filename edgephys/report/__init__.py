"""Gather figures with their provenance and show them."""
