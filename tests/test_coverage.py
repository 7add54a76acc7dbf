"""Generated vectors reach what held-out vectors do not, and the coverage counts what can be reached and what was."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from random_graphs import EVERY, field_graphs, graphs, vectors

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate, stimuli
from edgephys.graph.build import Builder
from edgephys.graph.coverage import Coverage, coverage_of
from edgephys.graph.ranges import derive
from edgephys.graph.reachable import reachable_bits


def layer(weights, bits=4):
    """Return a graph of one dense layer on inputs of so many bits."""
    builder = Builder("layer")
    x = builder.input("x", (len(weights),), Fixed(True, bits, bits))
    return builder.finish(builder.dense("y", x, np.array(weights), 0))


def rounding(bits, drop, overflow=Overflow.SAT, mode=Rounding.RND_CONV, source=8):
    """Return a graph of one rounding to so many bits."""
    builder = Builder("rounding")
    x = builder.input("x", (1,), Fixed(True, source, source))
    return builder.finish(builder.requantise("y", x, Fixed(True, bits, bits + drop, mode, overflow)))


@given(strategies.integers(-70, 70), strategies.integers(0, 90), strategies.integers(0, 4))
def test_the_bits_that_can_occur_in_an_interval_are_those_that_do(low, length, zeros):
    fixed = Fixed(True, 10, 10)
    numbers = [n for n in range(low, low + length + 1) if n % (1 << zeros) == 0]
    if not numbers:
        return
    cases = reachable_bits(*(np.array([n]) for n in (low, low + length, zeros)), fixed)[:, 0]
    halves = ([n for n in numbers if n >= 0], [n for n in numbers if n < 0])
    for bit in range(zeros, 9):
        for half, of_half in enumerate(halves):
            assert bool(cases[2 * half] >> bit & 1) == any(n >> bit & 1 for n in of_half)
            assert bool(cases[2 * half + 1] >> bit & 1) == any(not n >> bit & 1 for n in of_half)
    assert not np.bitwise_or.reduce(cases) & ((1 << zeros) - 1) and not np.bitwise_or.reduce(cases) >> 9


@given(strategies.one_of(graphs(EVERY), field_graphs(EVERY)))
def test_nothing_is_reached_that_the_ranges_exclude(graph):
    coverage = coverage_of(graph, vectors(graph, 60))
    edges = evaluate.trace(graph, {graph.input.name: vectors(graph, 60)})
    for name, allowed in coverage.possible.items():
        bits = graph.by_name[name].fixed.bits - graph.by_name[name].fixed.signed
        positive = np.where(edges[name] >= 0, edges[name], 0) & ((1 << bits) - 1)
        assert not (np.bitwise_or.reduce(positive, axis=0) & ~allowed.bits[0]).any(), name
    for share in coverage.shares().values():
        assert 0 <= share.reached <= share.possible


def test_every_integer_of_the_input_covers_all_that_one_rounding_can_do():
    graph = rounding(4, 2)
    coverage = coverage_of(graph, np.arange(-128, 128)[:, None])
    assert all(share.reached == share.possible for share in coverage.shares().values())
    ties, below, above = (coverage.events(event) for event in ("tie", "below", "above"))
    assert (ties.possible, below.possible, above.possible) == (1, 1, 1)


@pytest.mark.parametrize(
    ("graph", "event"),
    [
        (rounding(8, 0), "tie"),  # nothing is rounded away
        (rounding(7, 1, mode=Rounding.TRN), "tie"),  # every number between two steps goes the same way
        (rounding(8, 2), "above"),  # the format holds the range
        (rounding(8, 2), "below"),
    ],
)
def test_an_event_that_cannot_occur_is_not_counted(graph, event):
    assert coverage_of(graph, vectors(graph, 30)).events(event).possible == 0


def test_an_accumulator_of_one_layer_is_driven_to_its_proven_ends():
    generator = np.random.default_rng(1)
    graph = layer(generator.integers(-7, 8, (12, 9)), bits=9)
    y = evaluate.run(graph, stimuli.make(graph))
    range_ = derive(graph)[graph.output.name]
    assert np.array_equal(y.min(0), range_.low) and np.array_equal(y.max(0), range_.high)


def test_a_bit_that_held_out_vectors_never_set_is_reached():
    graph = layer([[3], [5]], bits=10)
    physics = np.random.default_rng(0).integers(-40, 40, (500, 2))
    own, generated = coverage_of(graph, physics), coverage_of(graph, stimuli.make(graph))
    assert own.bits("input").reached < own.bits("input").possible
    assert generated.bits().reached == generated.bits().possible
    assert own.least() and not generated.least()


@settings(max_examples=20)
@given(strategies.one_of(graphs(EVERY), field_graphs(EVERY)), strategies.integers(0, 3))
def test_generated_vectors_are_repeatable_as_many_as_stated_and_in_the_inputs_format(graph, seed):
    x, again = stimuli.make(graph, seed), stimuli.make(graph, seed)
    assert np.array_equal(x, again) and x.shape == (stimuli.count_for(graph), *graph.input.shape)
    assert graph.input.fixed.holds(int(x.min()), int(x.max()))


def test_generated_vectors_hold_the_ends_each_element_alone_and_rows_of_zeros():
    builder = Builder("rows")
    x = builder.input("x", (4, 3), Fixed(True, 6, 6))
    graph = builder.finish(builder.relu("y", x))
    flat = stimuli.make(graph).reshape(-1, 12)
    for end in (-32, 31):
        assert (flat == end).all(1).any()
        for element in range(12):
            assert (flat == np.where(np.arange(12) == element, end, 0)).all(1).any()
    rows = (flat.reshape(-1, 4, 3) == 0).all(2)
    assert {0, 1, 2, 3, 4} <= {int(row.sum()) for row in rows if np.array_equal(row, np.sort(row))}


def test_a_search_reaches_overflows_that_noise_does_not():
    builder = Builder("deep")
    x = builder.input("x", (24,), Fixed(True, 8, 8))
    y = builder.requantise(
        "a", builder.dense("d", x, np.ones((24, 1), np.int64), 0), Fixed(True, 13, 13, overflow=Overflow.SAT)
    )
    graph = builder.finish(builder.requantise("b", y, Fixed(True, 12, 12, overflow=Overflow.SAT)))
    noise = np.random.default_rng(0).integers(-128, 128, (stimuli.MOST, 24))
    assert coverage_of(graph, noise).events("above").reached == 0
    reached = coverage_of(graph, stimuli.make(graph))
    assert reached.events("above").reached == reached.events("above").possible == 1


def test_a_vector_that_adds_nothing_is_not_new():
    graph = layer([[1], [1]])
    coverage = Coverage(graph)
    assert coverage.add(np.array([[7, 7]])).all() and not coverage.add(np.array([[7, 7]])).any()
    assert coverage.vectors == 2


def test_the_table_has_a_row_for_everything_that_is_counted(run, model, tmp_path):
    done = run("coverage", model, "--out", tmp_path / "coverage", "--json")
    assert done.status == 0, done.err
    rows = {row["what"]: row for row in done.json["rows"]}
    assert list(rows) == list(coverage_of(layer([[1]]), np.array([[1]])).shares())
    for row in rows.values():
        assert max(row["held_out"], row["generated"]) <= row["both"] <= row["possible"]
        assert (row["held_out_vectors"], row["generated_vectors"]) == (200, 4096)
    assert rows["input bits"]["generated"] == rows["input bits"]["possible"]
    page = (tmp_path / "coverage.md").read_text()
    assert "| input bits |" in page and " 100.00 |" in page
