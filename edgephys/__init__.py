"""edgephys: from a trained physics model to silicon, with the same integers on every target."""

__version__ = "0.3.0"
