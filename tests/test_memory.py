"""Memory planning: no two tensors that are alive together overlap, and published totals are reached."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgephys.core.errors import UsageError
from edgephys.targets.c import memory
from edgephys.targets.c.memory import Tensor


def tensors_of(*records):
    return [Tensor(f"t{i}", *record) for i, record in enumerate(records)]


A = tensors_of((32, 0, 1), (28, 1, 4), (36, 2, 5), (16, 3, 5), (8, 4, 5), (64, 5, 7), (10, 6, 8), (40, 7, 8))
B = tensors_of((32, 0, 1), (32, 1, 4), (8, 2, 5), (16, 3, 5), (8, 4, 5), (64, 5, 7), (8, 6, 8), (8, 7, 8), (16, 8, 9))
C = tensors_of((16, 0, 1), (8, 1, 2), (64, 2, 3), (32, 3, 4), (8, 4, 5))

EVERY = (memory.naive, *memory.PLANNERS)

spans = st.tuples(st.integers(0, 60), st.integers(0, 8), st.integers(0, 4)).map(lambda t: (t[0], t[1], t[1] + t[2]))
networks = st.lists(spans, max_size=9).map(lambda records: tensors_of(*records))


@pytest.mark.parametrize(("tensors", "naive", "offsets"), [(A, 234, 124), (B, 192, 96), (C, 128, 96)])
def test_published_totals_of_offsets_are_reached_and_are_the_bound(tensors, naive, offsets):
    assert memory.naive(tensors).total == naive
    for planner in (memory.offsets_by_size, memory.offsets_improved, memory.offsets_by_breadth):
        assert (planner(tensors).total, planner(tensors).bound) == (offsets, offsets)


def test_published_offsets_are_found_one_by_one():
    assert memory.offsets_by_size(B).offsets == (0, 32, 80, 64, 88, 0, 64, 72, 0)
    assert memory.offsets_by_size(C).offsets == (0, 64, 0, 64, 0)


def test_published_total_of_shared_objects_is_reached():
    assert memory.objects_by_breadth(A).total == memory.objects_by_size(A).total == 128
    assert memory.objects_by_size(A).bound == sum(memory.positional_maxima(A)) == 64 + 40 + 16 + 8


def test_the_improved_order_reaches_the_bound_where_plain_greedy_by_size_does_not():
    improved, plain = memory.objects_improved(B), memory.objects_by_size(B)
    assert improved.total == improved.bound == 112 < plain.total


def test_the_largest_first_is_not_always_best():
    """Why ``best`` asks all: here the order of breadths wins, and the bound is reached."""
    tensors = tensors_of((25, 3, 4), (30, 4, 5), (8, 5, 7), (34, 7, 8), (18, 2, 4), (15, 0, 3))
    totals = {planner(tensors).strategy: planner(tensors).total for planner in memory.PLANNERS}
    assert memory.best(tensors).total == min(totals.values())
    assert len(set(totals.values())) > 1


@given(networks, st.sampled_from(EVERY), st.sampled_from((1, 4, 16)))
@settings(max_examples=300)
def test_no_two_tensors_alive_together_overlap(tensors, planner, alignment):
    plan = planner(tensors, alignment)
    placed = list(zip(plan.tensors, plan.offsets, strict=True))
    assert plan.tensors == tuple(tensors)
    assert plan.total >= plan.bound
    for t, offset in placed:
        assert offset % alignment == 0
        assert offset + t.size <= plan.total
        for other, at in placed:
            if other.name != t.name and t.first <= other.last and other.first <= t.last:
                assert offset + t.size <= at or at + other.size <= offset
    assert plan == planner(tensors, alignment)


@given(networks, st.sampled_from((memory.objects_by_size, memory.objects_improved, memory.objects_by_breadth)))
def test_a_shared_object_holds_one_tensor_at_a_time(tensors, planner):
    plan = planner(tensors)
    for i, t in enumerate(tensors):
        for j in range(i):
            if plan.objects[i] == plan.objects[j]:
                assert not t.overlaps(tensors[j])
                assert plan.offsets[i] == plan.offsets[j]


@given(st.lists(spans, min_size=1, max_size=5).map(lambda records: tensors_of(*records)))
@settings(max_examples=60)
def test_on_tiny_networks_the_best_plan_is_near_the_best_of_every_order(tensors):
    """Some order of placing each tensor as low as it goes is optimal; no plan is below it, ours seldom above."""
    optimum = min(lowest(tensors, order) for order in permutations(range(len(tensors))))
    found = memory.best(tensors).total
    assert memory.largest_breadth(tensors) <= optimum <= found <= 1.5 * optimum


def lowest(tensors, order):
    offsets = {}
    for i in order:
        near = [j for j in offsets if tensors[j].overlaps(tensors[i])]
        free = [0, *sorted(offsets[j] + tensors[j].size for j in near)]
        size = tensors[i].size
        offsets[i] = next(
            low for low in free if all(low + size <= offsets[j] or offsets[j] + tensors[j].size <= low for j in near)
        )
    return max(offsets[i] + tensors[i].size for i in offsets)


def test_a_plan_of_nothing_is_empty():
    for planner in EVERY:
        assert (planner([]).total, planner([]).bound, planner([]).offsets) == (0, 0, ())


def test_what_is_no_tensor_is_refused():
    with pytest.raises(UsageError, match=r"tensor 'x': size must be 0 or more, not -1"):
        Tensor("x", -1, 0, 1)
    with pytest.raises(UsageError, match=r"tensor 'x': operations must be 0 <= first <= last, not 2\.\.1"):
        Tensor("x", 1, 2, 1)
    with pytest.raises(UsageError, match=r"alignment must be 1 byte or more, not 0"):
        memory.best(C, 0)
