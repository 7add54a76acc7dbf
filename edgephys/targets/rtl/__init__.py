"""Verilog and VHDL through alkaid; simulation, synthesis, place and route."""
