"""Compression stages, one file each."""
