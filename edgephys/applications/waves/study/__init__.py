"""Studies of wave networks: growth of their errors, time of a frame, numerical dispersion."""
