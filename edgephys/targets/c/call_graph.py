"""The deepest stack of compiled C, from the call graph that GCC writes (``-fcallgraph-info=su``)."""

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
    """State the bytes of the deepest chain of calls, and the called functions whose frames GCC does not know.

    The bytes hold for every input: each function has a frame of known size, none is recursive or called by pointer.
    """

    bytes: int
    unseen: tuple[str, ...]


def deepest(text: str, entry: str) -> Stack:
    """Return the deepest stack of ``entry`` and the functions that it calls.

    Raises: ModelError where a function is absent, recursive, called by pointer, or has a frame without a bound.
    """
    frames = {title: _frame(title, label) for title, label in NODE.findall(text)}
    if frames.get(entry) is None:
        raise ModelError(f"call graph: function '{entry}' must be compiled here; it is not")
    calls: dict[str, list[str]] = {}
    for caller, called in EDGE.findall(text):
        calls.setdefault(caller, []).append(called)
    known: dict[str, int] = {}
    total = _stack_of(entry, frames, calls, known, ())
    return Stack(total, tuple(sorted(name for name in known if frames[name] is None)))


def _frame(title: str, label: str) -> int | None:
    """Return a function's bytes of stack; None for one that was not compiled here."""
    frame = FRAME.search(label)
    if frame is None:
        return None
    if frame[2] == "dynamic":
        raise ModelError(f"call graph: the stack of function '{title}' must be of a fixed size; it grows as it runs")
    return int(frame[1])


def _stack_of(
    name: str,
    frames: Mapping[str, int | None],
    calls: Mapping[str, list[str]],
    known: dict[str, int],
    above: tuple[str, ...],
) -> int:
    """Return the bytes of the deepest chain of calls from a function; ``above`` are its callers."""
    if name in above:
        raise ModelError(f"call graph: function '{name}' calls itself; its stack has no bound")
    if name == POINTER:
        raise ModelError(f"call graph: function '{above[-1]}' calls by pointer; its stack has no bound")
    if name not in known:
        stacks = [_stack_of(called, frames, calls, known, (*above, name)) for called in calls.get(name, ())]
        known[name] = (frames.get(name) or 0) + max(stacks, default=0)
    return known[name]
