"""Networks that tag jets."""
