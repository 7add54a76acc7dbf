"""Rounding and overflow into a format, by a pair of QuantizeLinear and DequantizeLinear where this is exact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow
from edgephys.graph.graph import Graph, Node
from edgephys.targets.onnx.forms import Form, Tensors
from edgephys.targets.onnx.plan import QDQ, SINGLE, OnnxPlan, Rounded

STORED: tuple[tuple[type[np.integer[Any]], int], ...] = ((np.uint8, 0), (np.uint8, 128), (np.uint16, 0), (np.int16, 0))
"""Types and zero points of quantised numbers, the narrowest first."""


def round_into(tensors: Tensors, graph: Graph, plan: OnnxPlan, node: Node) -> Form:
    """Add the operators of a requantise and return the form of its edge."""
    rounded, carrier, fraction = plan.rounded[node.name], plan.carriers[node.name], node.fixed.fraction
    source = graph.by_name[rounded.source].fixed.fraction
    offset = 0 if rounded.source in plan.offsets else rounded.halves
    stored = _stored(rounded) if plan.style == QDQ and carrier == SINGLE else None
    work = tensors.form(rounded.source, carrier=carrier)
    if stored is not None and not work.quantised:  # a runtime fuses two pairs in a row into one, which rounds once
        work = _with_offset(tensors, node.name, rounded, offset, work, source)
        return _quantised(tensors, node, rounded, work, stored)
    work = tensors.form(rounded.source, carrier=carrier, unit=fraction)
    tensor = _with_offset(tensors, node.name, rounded, offset, work, source).tensor
    if source > fraction:
        tensor = tensors.add("Round", [tensor], f"{node.name}_rounded")
    tensor = _bounded(tensors, node.name, tensor, rounded.low, rounded.high, 1.0, carrier)
    if rounded.overflows is Overflow.SAT_ZERO:
        tensor = _zero_outside(tensors, node.name, tensor, node.fixed, carrier)
    elif rounded.overflows is not None:
        tensor = _wrapped(tensors, node.name, tensor, node.fixed, carrier)
    return replace(work, tensor=tensors.named(node.name, tensor), quantised=0)


def _stored(rounded: Rounded) -> tuple[type[np.integer[Any]], int] | None:
    """Return the narrowest type that holds the result, and its zero point; None where no pair computes the result."""
    if rounded.overflows is not None:
        return None
    for kind, point in STORED:
        if np.iinfo(kind).min <= rounded.lowest + point and rounded.highest + point <= np.iinfo(kind).max:
            return kind, point
    return None


def _with_offset(tensors: Tensors, name: str, rounded: Rounded, halves: int, work: Form, source: int) -> Form:
    """Add the offset after which rounding half to even is the rounding of the format."""
    half = 2.0 ** (work.unit - source - 1)
    if rounded.signed_halves:
        factor = tensors.number(f"{name}_sided_halves", rounded.signed_halves * half, work.carrier)
        sign = tensors.add("Sign", [work.tensor], f"{name}_sign")
        added = tensors.add("Mul", [sign, factor], f"{name}_sided")
    elif halves:
        added = tensors.number(f"{name}_halves", halves * half, work.carrier)
    else:
        return work
    return replace(work, tensor=tensors.add("Add", [work.tensor, added], f"{name}_moved"))


def _quantised(
    tensors: Tensors, node: Node, rounded: Rounded, work: Form, stored: tuple[type[np.integer[Any]], int]
) -> Form:
    """Add a pair; a bound that is the end of the stored type needs no Clip."""
    kind, point = stored
    ends = np.iinfo(kind)
    low = None if rounded.low == ends.min - point else rounded.low
    high = None if rounded.high == ends.max - point else rounded.high
    exponent = work.unit - node.fixed.fraction
    tensor = _bounded(tensors, node.name, work.tensor, low, high, 2.0**exponent, work.carrier)
    zero = tensors.zero(kind, point)
    tensor = tensors.add("QuantizeLinear", [tensor, tensors.scale(exponent), zero], f"{node.name}_quantised")
    tensor = tensors.add("DequantizeLinear", [tensor, tensors.scale(-node.fixed.fraction), zero], node.name)
    return Form(tensor, work.layout, work.carrier, 0, quantised=ends.bits)


def _bounded(
    tensors: Tensors, name: str, tensor: str, low: int | None, high: int | None, step: float, carrier: str
) -> str:
    if low is None and high is None:
        return tensor
    least = "" if low is None else tensors.number(f"{name}_low", low * step, carrier)
    most = [] if high is None else [tensors.number(f"{name}_high", high * step, carrier)]
    return tensors.add("Clip", [tensor, least, *most], f"{name}_bounded")


def _zero_outside(tensors: Tensors, name: str, tensor: str, fixed: Fixed, carrier: str) -> str:
    """Add the operators that replace values outside of the format by 0."""
    clipped = _bounded(tensors, name, tensor, fixed.low, fixed.high, 1.0, carrier)
    inside = tensors.add("Equal", [tensor, clipped], f"{name}_inside")
    return tensors.add("Where", [inside, tensor, tensors.number(f"none_{carrier}", 0.0, carrier)], f"{name}_kept")


def _wrapped(tensors: Tensors, name: str, tensor: str, fixed: Fixed, carrier: str) -> str:
    """Add the operators that subtract the multiple of the format's range by which a value exceeds it."""
    turn, above = 2.0**fixed.bits, tensor
    if fixed.low:
        low = tensors.number(f"{name}_low", fixed.low, carrier)
        above = tensors.add("Sub", [tensor, low], f"{name}_above")
    turns = tensors.add("Mul", [above, tensors.number(f"{name}_part", 1 / turn, carrier)], f"{name}_turns")
    whole = tensors.add("Floor", [turns], f"{name}_whole_turns")
    off = tensors.add("Mul", [whole, tensors.number(f"{name}_turn", turn, carrier)], f"{name}_off")
    return tensors.add("Sub", [tensor, off], f"{name}_wrapped")
