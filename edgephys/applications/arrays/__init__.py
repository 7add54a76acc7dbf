"""The application of a user's own arrays: networks that a function of a script returns, of classes or of numbers."""
