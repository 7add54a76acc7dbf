"""Joins of float results that are rounded part by part: a concatenation, and the largest or smallest of several.

A quantiser behind a concatenation rounds each element alone, and a quantiser that rises with what it rounds gives the
largest of several numbers the largest of their roundings. So no step that the parts have in common is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.models.files.keras.reading import KerasReading, KerasValue

Write = Callable[[str, Sequence[str]], str]
"""Joins the edges of parts in a layer, and returns the name of the result."""


@dataclass(frozen=True, eq=False)
class PendingJoin:
    """Stand first among the functions of a value whose parts are rounded before they are joined.

    ``channels`` are the channels of the result that each part has; None where each has all of them. ``rising``: only a
    quantiser that rises may follow.
    """

    layer: str
    parts: tuple[KerasValue, ...]
    write: Write
    channels: tuple[slice, ...] | None = None
    rising: bool = False

    def __call__(self, x: Any) -> Any:
        """Raise ModelError: a join is no function of one element."""
        raise ModelError(f"layer '{self.layer}': a join must be read as a whole, not element by element")

    def value(self, at: int, functions: Sequence[Any]) -> KerasValue:
        """Return a part with the functions that follow the join."""
        part = self.parts[at]
        return KerasValue(part.edge, (*part.pending, *(self.within(at, one) for one in functions)), part.last)

    def within(self, at: int, function: Any) -> Any:
        """Return a function of all channels as one of those of a part."""
        if self.channels is None:
            return function
        return _OfChannels(function, self.channels[at], self.channels[-1].stop)


@dataclass(frozen=True, eq=False)
class _OfChannels:
    """Call a function of all channels with some of them; the others are 0."""

    function: Any
    channels: slice
    count: int

    def __call__(self, x: Any) -> Any:
        whole = np.zeros((*np.shape(x)[:-1], self.count), np.asarray(x).dtype)
        whole[..., self.channels] = x
        return self.function(whole)[..., self.channels]

    def get_config(self) -> dict[str, Any]:
        """Return the settings of the function."""
        config: dict[str, Any] = self.function.get_config() if hasattr(self.function, "get_config") else {}
        return config


def concatenated(reading: KerasReading, layer: Any, values: Sequence[KerasValue], axis: int) -> KerasValue:
    """Join along an axis behind the batch; float results are joined behind the quantiser that follows."""
    builder, name = reading.builder, layer.name
    edges = tuple(value.edge for value in values)
    joined = builder.concat(name, edges, axis)
    if not any(value.pending for value in values):
        return KerasValue(joined)
    ends = np.cumsum([builder.shape(edge)[-1] for edge in edges])
    last = axis == len(builder.shape(joined)) - 1
    channels = tuple(slice(int(end) - builder.shape(edge)[-1], int(end)) for edge, end in zip(edges, ends, strict=True))
    join = PendingJoin(
        name, tuple(values), lambda owner, parts: builder.concat(owner, tuple(parts), axis), channels if last else None
    )
    return KerasValue(joined, (join,), name)


def extreme(reading: KerasReading, layer: Any, values: Sequence[KerasValue], write: Write) -> KerasValue:
    """Return the largest or the smallest of values of one shape, some of which are floats, as ``write`` joins them."""
    edges = [value.edge for value in values]
    join = PendingJoin(layer.name, tuple(values), write, rising=True)
    return KerasValue(write(layer.name, edges), (join,), layer.name)
