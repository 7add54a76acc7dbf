"""TAKE: rows of x along one axis, each as often as it is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.graph.ops.op import AlongAxis, Move, Nodes, frozen, integers_of

if TYPE_CHECKING:
    from edgephys.graph.graph import Node


@dataclass(frozen=True, eq=False)
class Take(AlongAxis, Move):
    """Take rows along an axis, which becomes the axes of ``rows``, as numpy.take does."""

    word = "take"
    rows: Integers

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", frozen(self.rows))

    def shape(self, node: Node, operands: Nodes) -> tuple[int, ...]:
        shape, lowest, highest = operands[0].shape, self.rows.min(initial=0), self.rows.max(initial=0)
        self.check_axis(node, shape)
        if lowest < 0 or highest >= shape[self.axis]:
            raise node.wrong(f"rows must be 0..{shape[self.axis] - 1}, not {self.rows.min()}..{self.rows.max()}")
        return (*shape[: self.axis], *self.rows.shape, *shape[self.axis + 1 :])

    def moved(self, x: Any, shape: tuple[int, ...], batch: int = 0, outside: int = 0) -> Any:
        axis = self.axis + batch
        rows = np.take(x, self.rows.reshape(-1), axis=axis)  # an array, where a single symbol would be none
        return rows.reshape((*x.shape[:axis], *self.rows.shape, *x.shape[axis + 1 :]))

    def to_record(self) -> dict[str, Any]:
        return {"axis": self.axis, "rows": self.rows.tolist()}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(index(record["axis"]), integers_of(record["rows"]))
