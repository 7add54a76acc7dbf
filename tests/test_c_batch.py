"""The entry point of the C target for many events: the integers of one event in each lane, in calls of any size."""

from pathlib import Path

import numpy as np
import pytest
from c_programs import WARNINGS, run_together
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph, vectors
from test_c import found, jets, waves

from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ProjectError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.targets.c import emit as c
from edgephys.targets.c.batch import LANES
from edgephys.targets.c.narrow import NARROW, split
from edgephys.targets.c.pairs import LIMIT, Bucket, Ends, paired
from edgephys.targets.c.plan import not_laned
from edgephys.targets.c.rules import RULES
from edgephys.targets.c.scan import scan
from edgephys.targets.registry import TARGETS
from edgephys.targets.target import EmittedProject

FAST = ("-std=c99", "-O3", "-march=native")


def emitted(graph, folder, **options):
    folder.mkdir(parents=True, exist_ok=True)
    return c.emit(graph, folder, c.COptions(batch=True, **options))


def roles(graph):
    return {node.name: RULES.lookup(node.op, node.layer) for node in graph.nodes}


# Exact --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["auto", "loops"])
@pytest.mark.slow
def test_random_graphs_have_the_golden_integers_in_calls_of_every_size_with_sanitisers(style, tmp_path):
    """None, one, one less than a block, a block, one more, and the rest: ``c_programs`` compares both entry points."""
    many = [random_graph(seed, steps=9) for seed in range(1000, 1020)]
    assert sum(not_laned(graph, roles(graph)) is None for graph in many) >= 10
    xs = [vectors(graph, 4 * LANES + 9) for graph in many]
    for graph, x, (outputs, _) in zip(many, xs, run_together(tmp_path, many, xs, style), strict=True):
        np.testing.assert_array_equal(outputs, evaluate.run(graph, x))


def test_every_recorded_layer_of_random_graphs_is_the_golden_one(tmp_path):
    recorded = 0
    for seed in range(1000, 1004):
        graph = random_graph(seed, steps=9)
        facts, x = emitted(graph, tmp_path / str(seed)), vectors(graph, LANES + 3)
        outputs, edges = c.probe_batch(tmp_path / str(seed), facts, x, c.FLAGS)
        golden = evaluate.trace(graph, {graph.input.name: x})
        np.testing.assert_array_equal(outputs, golden[graph.output.name])
        for node, integers in edges.items():
            np.testing.assert_array_equal(integers, golden[node])
        recorded += len(edges)
    assert recorded > 4


@pytest.mark.parametrize("count", [1, LANES - 1, LANES, LANES + 1, 4 * LANES + 9])
def test_every_number_of_vectors_is_exact_and_inside_of_exact_buffers(count, tmp_path):
    graph = jets()
    facts, x = emitted(graph, tmp_path), vectors(graph, 4 * LANES + 9)[:count]
    for flags in (c.FLAGS, c.SANITISED):
        np.testing.assert_array_equal(c.run_batch(tmp_path, facts, x, flags), evaluate.run(graph, x))


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_vectors_of_this_processor_hold_the_same_integers(compiler, tmp_path):
    found(compiler)
    many = [jets(), jets(16, 24, seed=3), *(random_graph(seed, steps=9) for seed in range(4))]
    xs = [vectors(graph, 3 * LANES) for graph in many]
    for flags in ((*WARNINGS, *FAST), (*WARNINGS, "-O2")):
        for graph, x, (outputs, _) in zip(
            many, xs, run_together(tmp_path, many, xs, compiler=compiler, flags=flags), strict=True
        ):
            np.testing.assert_array_equal(outputs, evaluate.run(graph, x))


@pytest.mark.parametrize("bits", [8, 16, 31, 40])
def test_sums_of_every_width_are_exact(bits, tmp_path):
    """Up to inputs and sums of 64 bits, which no lane of 16 holds."""
    builder = Builder("wide")
    x = builder.input("x", (3, 40), Fixed(True, bits, bits))
    x = builder.dense("first", x, np.random.default_rng(bits).integers(-128, 128, (40, 6)), 3)
    graph = builder.finish(builder.bias("first", x, np.arange(6), 0))
    x = vectors(graph, LANES + 3)
    for style in ("auto", "loops"):
        facts = emitted(graph, tmp_path / style, style=style)
        np.testing.assert_array_equal(c.run_batch(tmp_path / style, facts, x), evaluate.run(graph, x))


# What is emitted ----------------------------------------------------------------------------------


def test_the_source_of_one_event_is_the_same_bytes_with_and_without_it(tmp_path):
    for folder in ("without", "with"):
        (tmp_path / folder).mkdir()
        c.emit(jets(), tmp_path / folder, c.COptions(batch=folder == "with"))
    without, own = (
        {path.name: path.read_text() for path in (tmp_path / name).iterdir()} for name in ("without", "with")
    )
    assert own.keys() - without.keys() == {"jets_8_bit_batch.c"}
    assert own["jets_8_bit.c"] == without["jets_8_bit.c"] and own["jets_8_bit.hpp"] == without["jets_8_bit.hpp"]
    assert "run_batch" not in without["jets_8_bit.h"]


def test_both_objects_together_have_two_global_names_and_nothing_that_can_be_written(tmp_path):
    for graph in (jets(), waves()):
        prefix = emitted(graph, tmp_path)["prefix"]
        gcc = tools.find("gcc").command
        tools.run([*gcc, *WARNINGS, "-O3", "-c", f"{prefix}_batch.c", "-o", "model.o"], tmp_path, 100)
        symbols = [line.split()[-2:] for line in tools.run(["nm", "model.o"], tmp_path, 20).splitlines()]
        assert [name for kind, name in symbols if kind.isupper() and kind != "U"] == [f"{prefix}_run_batch"]
        assert {name for kind, name in symbols if kind == "U"} <= {"memcpy", "memset", f"{prefix}_run"}


@pytest.mark.slow
def test_a_layer_of_many_terms_is_written_into_several_functions_and_is_exact(tmp_path):
    graph = jets(4, 40)
    facts, x = emitted(graph, tmp_path), vectors(graph, 2 * LANES + 1)
    assert (tmp_path / "jets_8_bit_batch.c").read_text().count("static void jets_8_bit_batch_part") > 3
    for flags in (c.FLAGS, c.SANITISED):
        np.testing.assert_array_equal(c.run_batch(tmp_path, facts, x, flags), evaluate.run(graph, x))


def test_facts_and_header_state_the_lanes_and_the_arena(tmp_path):
    facts = emitted(jets(), tmp_path)
    header = (tmp_path / "jets_8_bit.h").read_text()
    assert facts["batch"]["lanes"] == LANES and facts["batch"]["one_by_one"] is None
    assert f"#define JETS_8_BIT_BATCH_ARENA_BYTES {facts['batch']['arena_bytes']}\n" in header
    assert "jets_8_bit_batch.c" in facts["files"] and set(facts["batch"]["carriers"].values()) == {NARROW, "int32_t"}


def test_a_convolution_runs_event_after_event_and_the_facts_name_its_layer(tmp_path):
    graph = waves()
    facts, x = emitted(graph, tmp_path), vectors(graph, 5)
    assert facts["batch"]["lanes"] == 1 and facts["batch"]["one_by_one"] == "stage_1_window"
    np.testing.assert_array_equal(c.run_batch(tmp_path, facts, x), evaluate.run(graph, x))


def test_a_missing_source_and_an_arena_that_is_no_number_are_refused(tmp_path):
    facts = emitted(jets(), tmp_path)
    scan(tmp_path, facts)
    with pytest.raises(ProjectError, match="facts: batch: arena_bytes"):
        scan(tmp_path, {**facts, "batch": {**facts["batch"], "arena_bytes": "8, abort()"}})
    (tmp_path / "jets_8_bit_batch.c").unlink()
    with pytest.raises(ProjectError, match=r"jets_8_bit_batch.c is missing; emit the project again"):
        c.run_batch(tmp_path, facts, vectors(jets(), 2))


def test_an_access_past_the_arena_is_stopped_and_named(tmp_path):
    facts = emitted(jets(), tmp_path)
    source = tmp_path / "jets_8_bit_batch.c"
    size = facts["batch"]["arena_bytes"]
    source.write_text(source.read_text().replace("for (size_t first", f"bytes[{size}] = 0;\n    for (size_t first"))
    with pytest.raises(MismatchError, match=r"jets_8_bit_batch.c:\d+, .*writes 1 byte .*arena"):
        c.run_batch(tmp_path, facts, vectors(jets(), 2), c.SANITISED)


def test_verify_compares_the_entry_point_and_finds_a_changed_constant(run, model, tmp_path):
    folder = tmp_path / "p"
    assert run("emit", model, "--to", "c", "--batch", "--out", folder).status == 0
    reported = {figure["name"]: figure["value"] for figure in run("report", folder, "--json").json["figures"]}
    assert reported["batch_lanes"] == LANES and reported["batch_arena_bytes"] > reported["arena_bytes"]
    ended = run("verify", folder, "--json")
    assert ended.status == 0 and {"c", "c_batch", "c_batch_sanitised"} <= set(ended.json["targets"]), ended.err
    (source,) = Path(folder / "firmware").glob("*_batch.c")
    source.write_text(source.read_text().replace("sum =", "sum = 40 +", 1))
    ended = run("verify", folder, "--json")
    assert ended.status == 1 and ended.json["targets"]["c_batch"]["mismatches"] > 0
    assert ended.json["targets"]["c"]["mismatches"] == 0


def test_a_layer_whose_fault_the_output_rounds_away_is_named(tmp_path):
    builder = Builder("hidden")
    x = builder.input("x", (4,), Fixed(False, 4, 4))
    x = builder.lookup("table", x, 0, 16 * np.arange(16) + 1, 0)
    graph = builder.finish(builder.requantise("last", x, Fixed(False, 4, 8)))
    firmware = tmp_path / "firmware"
    facts, x = emitted(graph, firmware), vectors(graph, 2 * LANES)
    project = EmittedProject(tmp_path, "hidden", graph, facts, {}, {}, lambda command: None, lambda: x)
    outputs, layers = (other.run for other in TARGETS["c"].other_runs(project, False) if "c_batch" in other.name)
    np.testing.assert_array_equal(layers(x).outputs, evaluate.run(graph, x))
    source = firmware / f"{facts['prefix']}_batch.c"
    source.write_text(source.read_text().replace("113", "114"))
    np.testing.assert_array_equal(outputs(x).outputs, evaluate.run(graph, x))
    with pytest.raises(
        MismatchError, match=r"^many events in a call: layer 'table': \d+ of 256 integers differ from the"
    ):
        layers(x)


# Sums in 16 bits ----------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_digits_add_up_to_the_weights_and_each_sum_fits_in_16_bits(data):
    count = data.draw(st.integers(1, 40))
    weights = np.array(data.draw(st.lists(st.integers(-300, 300), min_size=count, max_size=count)), np.int64)
    high = np.array(data.draw(st.lists(st.integers(0, 2000), min_size=count, max_size=count)), np.int64)
    low = -high * data.draw(st.integers(0, 1))
    digits = split(weights, Ends(low, high))
    if digits is None:
        return
    assert np.array_equal(sum(digit.integers << digit.shift for digit in digits), weights)
    for digit in digits:
        ends = digit.integers * low, digit.integers * high
        assert np.minimum(*ends).sum() >= -LIMIT and np.maximum(*ends).sum() < LIMIT


def test_weights_of_8_bits_and_activations_of_8_bits_are_summed_in_16():
    weights = np.random.default_rng(0).integers(-128, 128, 120)
    assert split(weights, Ends(np.zeros(120, np.int64), np.full(120, 255))) is not None


@given(st.lists(st.dictionaries(st.integers(0, 9), st.sampled_from([-1, 1])), max_size=12), st.integers(0, 20000))
@settings(max_examples=60, deadline=None)
def test_buckets_with_pairs_are_the_same_sums_and_no_pair_overflows(buckets, largest):
    ends = Ends(np.full(10, -largest), np.full(10, largest))
    shared = paired([Bucket(1, signs) for signs in buckets], ends)
    expanded = [np.eye(10, dtype=int)[k] for k in range(10)]
    for one, other, sign in shared.members:
        expanded.append(expanded[one] + sign * expanded[other])
        assert np.abs(expanded[-1]).sum() * largest < LIMIT
    for signs, bucket in zip(buckets, shared.buckets, strict=True):
        expected = sum((sign * expanded[k] for k, sign in signs.items()), np.zeros(10, int))
        received = sum((sign * expanded[k] for k, sign in bucket.signs.items()), np.zeros(10, int))
        assert np.array_equal(received, expected)


def test_a_pair_that_three_sums_contain_is_added_once():
    shared = paired([Bucket(1, {0: 1, 1: -1, 2: 1})] * 3, Ends(np.zeros(3, np.int64), np.full(3, 255)))
    assert len(shared.members) == 2 and all(len(bucket.signs) == 1 for bucket in shared.buckets)
