"""Compression stages, one file each; each registers its class (``compress.registry``)."""
