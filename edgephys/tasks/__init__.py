"""What a model is for: its examples, its loss, and the figures that say how well it does."""
