"""Networks that advance a wave by one frame."""
