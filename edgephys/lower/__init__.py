"""Lower a trained model to the Graph, the typed fixed-point program that every target starts from."""
