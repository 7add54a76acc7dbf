"""Where intermediate tensors lie: one arena, in which tensors that are never alive together may share bytes.

A tensor is alive from the operation that writes it to the last one that reads it, both included. Either every tensor
has its own offset, or tensors are dealt to shared objects, each as large as its largest tensor, which lie one behind
the other. No strategy is the best on every network: ``best`` tries all. Source: arXiv 2001.03288.
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

    def meets(self, other: Tensor) -> bool:
        """Say whether both tensors are alive during some operation."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """State where each tensor lies, the bytes that takes, and the bytes below which no plan of this sort can be.

    ``objects`` numbers each tensor's shared object; it is empty where every tensor has an offset of its own.
    """

    tensors: tuple[Tensor, ...]
    offsets: tuple[int, ...]
    total: int
    bound: int
    strategy: str
    objects: tuple[int, ...] = ()


def breadths(tensors: Sequence[Tensor]) -> list[int]:
    """Return the sum of the sizes that are alive at each operation."""
    return [sum(t.size for t in alive) for alive in _profiles(tensors)]


def largest_breadth(tensors: Sequence[Tensor]) -> int:
    """Return the bytes below which no offsets can be: those alive at once."""
    return max(breadths(tensors), default=0)


def positional_maxima(tensors: Sequence[Tensor]) -> list[int]:
    """Return, for each k, the largest size that is the k-th largest at some operation, in descending order."""
    sizes = [sorted((t.size for t in alive), reverse=True) for alive in _profiles(tensors)]
    return [max(row[k] for row in sizes if k < len(row)) for k in range(max(map(len, sizes), default=0))]


def _profiles(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Return the tensors alive at each operation."""
    ends = range(max((t.last for t in tensors), default=-1) + 1)
    return [[t for t in tensors if t.first <= op <= t.last] for op in ends]


# Orders ------------------------------------------------------------------------------------------


def _by_size(tensors: Sequence[Tensor]) -> list[int]:
    """Return positions by size, descending; of equal ones the first comes first."""
    return sorted(range(len(tensors)), key=lambda i: -tensors[i].size)


def _by_breadth(tensors: Sequence[Tensor]) -> list[int]:
    """Return positions by the breadth of the broadest operation they live in, then by size, both descending."""
    found = breadths(tensors)
    order: list[int] = []
    for op in sorted(range(len(found)), key=lambda op: -found[op]):
        order += [i for i in _by_size(tensors) if tensors[i].first <= op <= tensors[i].last and i not in order]
    return order


def _stages(tensors: Sequence[Tensor]) -> list[list[int]]:
    """Return positions in stages: those whose sizes lie between the same two positional maxima, larger ones first."""
    maxima = positional_maxima(tensors)
    stages: list[list[int]] = [[] for _ in range(len(maxima) + 1)]
    for i in _by_size(tensors):
        stages[sum(size >= tensors[i].size for size in maxima)].append(i)
    return stages


def _distance(tensor: Tensor, others: Iterable[Tensor]) -> int | None:
    """Return the operations between a tensor and the nearest other; None where one is alive with it or none is."""
    gaps = [max(other.first - tensor.last, tensor.first - other.last) for other in others]
    return min(gaps) if gaps and min(gaps) > 0 else None


# Offsets -----------------------------------------------------------------------------------------


def naive(tensors: Sequence[Tensor], alignment: int = 1) -> Plan:
    """Give every tensor bytes of its own."""
    sized = _aligned(tensors, alignment)
    offsets = [sum(t.size for t in sized[:i]) for i in range(len(sized))]
    return _plan(tensors, sized, offsets, "naive")


def offsets_by_size(tensors: Sequence[Tensor], alignment: int = 1) -> Plan:
    """Place the largest first, each in the smallest gap that holds it. Source: "greedy by size for offset"."""
    sized = _aligned(tensors, alignment)
    return _placed(tensors, sized, _by_size(sized), "offsets, greedy by size")


def offsets_by_breadth(tensors: Sequence[Tensor], alignment: int = 1) -> Plan:
    """Place what lives in the broadest operation first. Source: "greedy by breadth", on offsets."""
    sized = _aligned(tensors, alignment)
    return _placed(tensors, sized, _by_breadth(sized), "offsets, greedy by breadth")


def offsets_improved(tensors: Sequence[Tensor], alignment: int = 1) -> Plan:
    """Place in stages of size and, within a stage, what is nearest in time to what is placed.

    Source: the stages of "greedy by size improved"; that they order offsets, too, is ours.
    """
    sized = _aligned(tensors, alignment)
    order: list[int] = []
    for stage in _stages(sized):
        left = list(stage)
        while left:
            near = [_distance(sized[i], (sized[j] for j in order)) for i in left]
            chosen = min(range(len(left)), key=lambda k: (near[k] is None, near[k] or 0, -sized[left[k]].size, left[k]))
            order.append(left.pop(chosen))
    return _placed(tensors, sized, order, "offsets, greedy by size improved")


def _placed(tensors: Sequence[Tensor], sized: Sequence[Tensor], order: Sequence[int], strategy: str) -> Plan:
    """Place tensors in order: in the smallest gap between those alive with it, else behind the furthest of them."""
    offsets: dict[int, int] = {}
    for i in order:
        taken = sorted((offsets[j], offsets[j] + sized[j].size) for j in offsets if sized[j].meets(sized[i]))
        end, gap, at = 0, None, None
        for low, high in taken:
            if low - end >= sized[i].size and (gap is None or low - end < gap):
                gap, at = low - end, end
            end = max(end, high)
        offsets[i] = end if at is None else at
    return _plan(tensors, sized, [offsets[i] for i in range(len(sized))], strategy)


def _plan(tensors: Sequence[Tensor], sized: Sequence[Tensor], offsets: Sequence[int], strategy: str) -> Plan:
    total = max((offset + t.size for offset, t in zip(offsets, sized, strict=True)), default=0)
    return Plan(tuple(tensors), tuple(offsets), total, largest_breadth(sized), strategy)


def _aligned(tensors: Sequence[Tensor], alignment: int) -> list[Tensor]:
    """Return the tensors with sizes rounded up, so that every offset is a multiple of the alignment."""
    if alignment < 1:
        raise UsageError(f"alignment must be 1 byte or more, not {alignment}")
    return [Tensor(t.name, -(-t.size // alignment) * alignment, t.first, t.last) for t in tensors]


# Shared objects ----------------------------------------------------------------------------------


def objects_by_size(tensors: Sequence[Tensor], alignment: int = 1) -> Plan:
    """Deal the largest first to the smallest object that is free. Source: "greedy by size"."""
    sized = _aligned(tensors, alignment)
    return _dealt(tensors, sized, _by_size(sized), "shared objects, greedy by size")


def objects_by_breadth(tensors: Sequence[Tensor], alignment: int = 1) -> Plan:
    """Deal what lives in the broadest operation first; an object may grow. Source: "greedy by breadth"."""
    sized = _aligned(tensors, alignment)
    return _dealt(tensors, sized, _by_breadth(sized), "shared objects, greedy by breadth")


def objects_improved(tensors: Sequence[Tensor], alignment: int = 1) -> Plan:
    """Deal in stages of size and, within a stage, the tensor that leaves an object idle the shortest.

    Source: "greedy by size improved".
    """
    sized = _aligned(tensors, alignment)
    objects: list[list[int]] = []
    for stage in _stages(sized):
        left = list(stage)
        while left:
            pairs = [
                (distance, -sized[i].size, i, number)
                for i in left
                for number, dealt in enumerate(objects)
                if (distance := _distance(sized[i], (sized[j] for j in dealt))) is not None
            ]
            if pairs:
                _, _, i, number = min(pairs)
                objects[number].append(i)
            else:
                i = left[0]
                objects.append([i])
            left.remove(i)
    return _stacked(tensors, sized, objects, "shared objects, greedy by size improved")


def _dealt(tensors: Sequence[Tensor], sized: Sequence[Tensor], order: Sequence[int], strategy: str) -> Plan:
    """Deal tensors in order: to the smallest free object that holds it, else the largest free one, else a new one."""
    objects: list[list[int]] = []
    for i in order:
        free = [dealt for dealt in objects if not any(sized[j].meets(sized[i]) for j in dealt)]
        sizes = [max(sized[j].size for j in dealt) for dealt in free]
        holding = [(size, k) for k, size in enumerate(sizes) if size >= sized[i].size]
        if holding:
            free[min(holding)[1]].append(i)
        elif free:
            free[sizes.index(max(sizes))].append(i)
        else:
            objects.append([i])
    return _stacked(tensors, sized, objects, strategy)


def _stacked(tensors: Sequence[Tensor], sized: Sequence[Tensor], objects: list[list[int]], strategy: str) -> Plan:
    """Return the plan of objects that lie one behind the other."""
    number = {i: k for k, dealt in enumerate(objects) for i in dealt}
    sizes = [max(sized[i].size for i in dealt) for dealt in objects]
    every = range(len(sized))
    offsets = tuple(sum(sizes[: number[i]]) for i in every)
    bound = sum(positional_maxima(sized))
    return Plan(tuple(tensors), offsets, sum(sizes), bound, strategy, tuple(number[i] for i in every))


Planner = Callable[[Sequence[Tensor], int], Plan]

PLANNERS: tuple[Planner, ...] = (
    offsets_by_size,
    offsets_improved,
    offsets_by_breadth,
    objects_by_size,
    objects_improved,
    objects_by_breadth,
)


def best(tensors: Sequence[Tensor], alignment: int = 1) -> Plan:
    """Return the smallest plan of all strategies; of equal ones that of the strategy listed first."""
    return min((planner(tensors, alignment) for planner in PLANNERS), key=lambda plan: plan.total)
