"""Boards: a top level around an emitted network, its bitstream, its simulation, and the host's side of the line."""
