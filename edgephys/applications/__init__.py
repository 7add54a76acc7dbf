"""What models are for: each application in a folder of its own."""
