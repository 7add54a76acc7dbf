"""Applications: what models are for, each in a folder of its own."""
