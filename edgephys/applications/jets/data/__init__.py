"""Jets: generated, read, divided, and the features that networks read."""
