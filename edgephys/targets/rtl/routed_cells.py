"""Yosys' own cells by which routed designs are described: tables of LUTs, multiplexers, buffers, flip-flops."""

from __future__ import annotations

from typing import Any

Cell = dict[str, Any]


def table(entries: int, inputs: list[Any], out: Any) -> Cell:
    """Return a LUT: bit i of ``entries`` is the output where the inputs, the first one lowest, are i."""
    width = len(inputs)
    return {
        "type": "$lut",
        "parameters": {"LUT": f"{entries:0{1 << width}b}", "WIDTH": f"{width:032b}"},
        "port_directions": {"A": "input", "Y": "output"},
        "connections": {"A": inputs, "Y": [out]},
    }


def mux(at_0: Any, at_1: Any, select: Any, out: Any) -> Cell:
    """Return a multiplexer of two bits."""
    return {
        "type": "$mux",
        "parameters": {"WIDTH": f"{1:032b}"},
        "port_directions": {"A": "input", "B": "input", "S": "input", "Y": "output"},
        "connections": {"A": [at_0], "B": [at_1], "S": [select], "Y": [out]},
    }


def buffer(source: Any, out: Any) -> Cell:
    """Return a cell that passes a bit on."""
    return {
        "type": "$_BUF_",
        "parameters": {},
        "port_directions": {"A": "input", "Y": "output"},
        "connections": {"A": [source], "Y": [out]},
    }


def instance(kind: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> Cell:
    """Return a cell of a family that has a model, without parameters."""
    return {
        "type": kind,
        "parameters": {},
        "port_directions": dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output"),
        "connections": {pin: [bit] for pin, bit in (inputs | outputs).items()},
    }
