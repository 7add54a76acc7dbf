"""Models: a Graph with its held-out vectors, reference and card, from any framework."""
