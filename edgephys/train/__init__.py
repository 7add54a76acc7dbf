"""Training: recipes, quantised layers and the fit on Keras."""
