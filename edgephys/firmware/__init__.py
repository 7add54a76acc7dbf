"""Emit FPGA projects from the Graph, simulate them and measure them."""
