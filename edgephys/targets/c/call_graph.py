"""The deepest stack of compiled C: GCC's call graph (``-fcallgraph-info=su``), and the longest path through it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from edgephys.core.errors import ModelError

NODE = re.compile(r'^node: \{ title: "([^"]*)" label: "([^"]*)"', re.MULTILINE)
EDGE = re.compile(r'^edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"', re.MULTILINE)
FRAME = re.compile(r"\\n(\d+) bytes \((static|dynamic,bounded|dynamic)\)")
POINTER = "__indirect_call"


@dataclass(frozen=True)
class Stack:
    """State the bytes of the deepest chain of calls, and the functions below it whose frames GCC did not see.

    The bytes hold for every input: a frame of known size for each function, no recursion, no call by pointer.
    """

    bytes: int
    unseen: tuple[str, ...]


def deepest(text: str, entry: str) -> Stack:
    """Return the deepest stack below ``entry`` of a call graph that GCC wrote.

    Raises: ModelError where a function is absent, recursive, called by pointer, or has a frame without a bound.
    """
    frames = {title: _frame(title, label) for title, label in NODE.findall(text)}
    if frames.get(entry) is None:
        raise ModelError(f"call graph: function '{entry}' must be compiled here; it is not")
    calls: dict[str, list[str]] = {}
    for caller, called in EDGE.findall(text):
        calls.setdefault(caller, []).append(called)
    known: dict[str, int] = {}
    total = _below(entry, frames, calls, known, ())
    return Stack(total, tuple(sorted(name for name in known if frames[name] is None)))


def _frame(title: str, label: str) -> int | None:
    """Return a function's bytes of stack; None for one that was compiled elsewhere."""
    found = FRAME.search(label)
    if found is None:
        return None
    if found[2] == "dynamic":
        raise ModelError(f"call graph: the stack of function '{title}' must be of a fixed size; it grows as it runs")
    return int(found[1])


def _below(
    name: str,
    frames: Mapping[str, int | None],
    calls: Mapping[str, list[str]],
    known: dict[str, int],
    above: tuple[str, ...],
) -> int:
    if name in above:
        raise ModelError(f"call graph: function '{name}' calls itself; its stack has no bound")
    if name == POINTER:
        raise ModelError(f"call graph: function '{above[-1]}' calls by pointer; its stack has no bound")
    if name not in known:
        under = [_below(called, frames, calls, known, (*above, name)) for called in calls.get(name, ())]
        known[name] = (frames.get(name) or 0) + max(under, default=0)
    return known[name]
