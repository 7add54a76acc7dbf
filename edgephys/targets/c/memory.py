"""Where intermediate tensors lie: one arena, in which tensors that are never alive at the same time share bytes.

A tensor is alive from the operation that writes it to the last operation that reads it, both included. Either every
tensor has its own offset, or tensors are assigned to shared objects, each as large as its largest tensor, which lie one
after the other. No strategy is the best for every network: ``best`` tries all. Source: arXiv 2001.03288.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edgephys.core.errors import UsageError


@dataclass(frozen=True)
class Tensor:
    """State a tensor's size and the first and last operation, both included, during which it is alive."""

    name: str
    size: int
    first: int
    last: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise UsageError(f"tensor '{self.name}': size must be 0 or more, not {self.size}")
        if not 0 <= self.first <= self.last:
            raise UsageError(
                f"tensor '{self.name}': operations must be 0 <= first <= last, not {self.first}..{self.last}"
            )

    def overlaps(self, other: Tensor) -> bool:
        """Say whether both tensors are alive during some operation."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class MemoryPlan:
    """State the offset of each tensor, the total bytes, and a lower bound of the total for plans of this sort.

    ``objects`` numbers each tensor's shared object; it is empty where every tensor has its own offset.
    """

    tensors: tuple[Tensor, ...]
    offsets: tuple[int, ...]
    total: int
    bound: int
    strategy: str
    objects: tuple[int, ...] = ()


Planner = Callable[..., MemoryPlan]
"""Plans tensors; an alignment in bytes may follow."""


def breadths(tensors: Sequence[Tensor]) -> list[int]:
    """Return the sum of the sizes that are alive at each operation."""
    return [sum(t.size for t in alive) for alive in _alive(tensors)]


def largest_breadth(tensors: Sequence[Tensor]) -> int:
    """Return the most bytes that are alive at one operation: the lower bound of plans with offsets."""
    return max(breadths(tensors), default=0)


def positional_maxima(tensors: Sequence[Tensor]) -> list[int]:
    """Return, for each k, the maximum over operations of the k-th largest size that is alive, in descending order."""
    sizes = [sorted((t.size for t in alive), reverse=True) for alive in _alive(tensors)]
    return [max(row[k] for row in sizes if k < len(row)) for k in range(max(map(len, sizes), default=0))]


def _alive(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Return the tensors alive at each operation."""
    operations = range(max((t.last for t in tensors), default=-1) + 1)
    return [[t for t in tensors if t.first <= op <= t.last] for op in operations]


# Orders ------------------------------------------------------------------------------------------


def _by_size(tensors: Sequence[Tensor]) -> list[int]:
    """Return indices by descending size; of equal ones the first comes first."""
    return sorted(range(len(tensors)), key=lambda i: -tensors[i].size)


def _by_breadth(tensors: Sequence[Tensor]) -> list[int]:
    """Return indices by the breadth of the broadest operation at which they are alive, then by size, descending."""
    sums = breadths(tensors)
    order: list[int] = []
    for op in sorted(range(len(sums)), key=lambda op: -sums[op]):
        order += [i for i in _by_size(tensors) if tensors[i].first <= op <= tensors[i].last and i not in order]
    return order


def _nearest_first(tensors: Sequence[Tensor], share: bool) -> list[list[int]]:
    """Return groups of indices: the next tensor is the one that is nearest in time to a group, which it joins.

    Tensors are added in stages of size: a stage has the sizes between two consecutive positional maxima. A tensor that
    no group can take starts a new group; without ``share`` there is one group, which takes every tensor.
    """
    maxima = positional_maxima(tensors)
    stages: list[list[int]] = [[] for _ in range(len(maxima) + 1)]
    for i in _by_size(tensors):
        stages[sum(size >= tensors[i].size for size in maxima)].append(i)
    groups: list[list[int]] = [] if share else [[]]
    for stage in stages:
        while stage:
            pairs = [
                (distance, -tensors[i].size, i, number)
                for i in stage
                for number, group in enumerate(groups)
                if (distance := _distance(tensors[i], (tensors[j] for j in group))) is not None
            ]
            if share and not pairs:
                groups.append([])
            _, _, i, number = min(pairs) if pairs else (0, 0, stage[0], -1)
            groups[number].append(i)
            stage.remove(i)
    return groups


def _distance(tensor: Tensor, others: Iterable[Tensor]) -> int | None:
    """Return the operations between a tensor and the nearest other; None where one overlaps it or there is none."""
    gaps = [max(other.first - tensor.last, tensor.first - other.last) for other in others]
    return min(gaps) if gaps and min(gaps) > 0 else None


# Placements --------------------------------------------------------------------------------------

Placement = tuple[list[int], list[int]]
"""The offset of each tensor, and the number of its shared object (empty: each has its own offset)."""


def _in_gaps(tensors: Sequence[Tensor], order: Iterable[int]) -> Placement:
    """Place tensors in order: in the smallest sufficient gap between those that overlap, else after the last one."""
    offsets: dict[int, int] = {}
    for i in order:
        occupied = sorted(
            (offsets[j], offsets[j] + tensors[j].size) for j in offsets if tensors[j].overlaps(tensors[i])
        )
        end, gap, offset = 0, None, None
        for low, high in occupied:
            if low - end >= tensors[i].size and (gap is None or low - end < gap):
                gap, offset = low - end, end
            end = max(end, high)
        offsets[i] = end if offset is None else offset
    return [offsets[i] for i in range(len(tensors))], []


def _assigned(tensors: Sequence[Tensor], order: Iterable[int]) -> Placement:
    """Assign tensors in order: to the smallest sufficient free object, else to the largest free one, else a new one."""
    objects: list[list[int]] = []
    for i in order:
        free = [group for group in objects if not any(tensors[j].overlaps(tensors[i]) for j in group)]
        sizes = [max(tensors[j].size for j in group) for group in free]
        sufficient = [(size, k) for k, size in enumerate(sizes) if size >= tensors[i].size]
        if sufficient:
            free[min(sufficient)[1]].append(i)
        elif free:
            free[sizes.index(max(sizes))].append(i)
        else:
            objects.append([i])
    return _stacked(tensors, objects)


def _stacked(tensors: Sequence[Tensor], objects: list[list[int]]) -> Placement:
    """Place objects one after the other."""
    number = {i: k for k, group in enumerate(objects) for i in group}
    sizes = [max(tensors[i].size for i in group) for group in objects]
    indices = range(len(tensors))
    return [sum(sizes[: number[i]]) for i in indices], [number[i] for i in indices]


def _planner(strategy: str, place: Callable[[Sequence[Tensor]], Placement]) -> Planner:
    """Return the planner of a placement. It rounds sizes up, so that every offset is a multiple of the alignment."""

    def planner(tensors: Sequence[Tensor], alignment: int = 1) -> MemoryPlan:
        if alignment < 1:
            raise UsageError(f"alignment must be 1 byte or more, not {alignment}")
        sized = [Tensor(t.name, -(-t.size // alignment) * alignment, t.first, t.last) for t in tensors]
        offsets, objects = place(sized)
        total = max((offset + t.size for offset, t in zip(offsets, sized, strict=True)), default=0)
        bound = sum(positional_maxima(sized)) if objects else largest_breadth(sized)
        return MemoryPlan(tuple(tensors), tuple(offsets), total, bound, strategy, tuple(objects))

    return planner


naive = _planner("naive", lambda t: ([sum(earlier.size for earlier in t[:i]) for i in range(len(t))], []))
"""Gives every tensor bytes of its own."""

offsets_by_size = _planner("offsets, greedy by size", lambda t: _in_gaps(t, _by_size(t)))
offsets_by_breadth = _planner("offsets, greedy by breadth", lambda t: _in_gaps(t, _by_breadth(t)))
offsets_improved = _planner("offsets, greedy by size improved", lambda t: _in_gaps(t, *_nearest_first(t, share=False)))
"""The source uses this order for shared objects only."""

objects_by_size = _planner("shared objects, greedy by size", lambda t: _assigned(t, _by_size(t)))
objects_by_breadth = _planner("shared objects, greedy by breadth", lambda t: _assigned(t, _by_breadth(t)))
objects_improved = _planner(
    "shared objects, greedy by size improved", lambda t: _stacked(t, _nearest_first(t, share=True))
)

PLANNERS = (
    offsets_by_size,
    offsets_improved,
    offsets_by_breadth,
    objects_by_size,
    objects_improved,
    objects_by_breadth,
)


def best(tensors: Sequence[Tensor], alignment: int = 1) -> MemoryPlan:
    """Return the smallest plan of all strategies; of equal ones that of the strategy listed first."""
    return min((planner(tensors, alignment) for planner in PLANNERS), key=lambda plan: plan.total)
