"""Compare every way to compute a model with the golden model, bit for bit, and say which bits were reached."""
