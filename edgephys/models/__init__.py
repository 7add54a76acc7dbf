"""Models: a Graph with its vectors, reference and card, whatever it came from."""
