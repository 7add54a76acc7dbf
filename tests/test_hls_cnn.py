"""Networks that join pixels stream through HLS: strides, padding, pooling, flattening, means; no FIFO stops them."""

import shutil
import subprocess
from math import prod

import numpy as np
import pytest
from cnn_graphs import PIXEL, build_cnn, classifier, cnns, every_beat, on_rows, rows_of
from hls_graphs import interaction
from hypothesis import assume, given, settings, strategies
from random_graphs import vectors
from rtl_graphs import tagger
from test_hls_stream import dataflow, different

from edgephys.core.errors import ModelError, UsageError
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.models.files.fields import OUTSIDE, maxima
from edgephys.targets.hls import csim, lint
from edgephys.targets.hls.beats import divided
from edgephys.targets.hls.emit import emit
from edgephys.targets.hls.options import HlsOptions
from edgephys.targets.hls.patches import fitted
from edgephys.targets.hls.steps import plan
from edgephys.targets.hls.stream import DEEPEST_PIPELINE, FASTEST_PROCESS, connected, is_streamed, loop_of, times
from edgephys.targets.hls.stream_rules import BeatDenseRule, BeatSumRule, PatchesRule, RearrangeRule

pytestmark = pytest.mark.slow

STREAM = HlsOptions(io="stream")


def streams_exactly(graph, folder, count):
    """Emit and simulate; hold the output and the end of every layer that is computed against the golden model."""
    facts, x = emit(graph, folder, STREAM), vectors(graph, count)
    assert facts["io_type"] == "io_stream"
    np.testing.assert_array_equal(csim.simulate(folder, facts, x), evaluate.run(graph, x))
    assert not different(graph, csim.probe(folder, facts, x), x)
    return facts, x


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder, graph = tmp_path_factory.mktemp("beats"), every_beat()
    return graph, folder, *streams_exactly(graph, folder, 10)


# The integers -----------------------------------------------------------------------------------


def test_every_way_to_join_pixels_is_exact(project):
    graph, _, facts, x = project
    rules = [type(edge.rule) for edge in divided(graph)]
    assert {PatchesRule, RearrangeRule, BeatSumRule, BeatDenseRule} < set(rules)
    assert facts["field"] == [7, 6] and evaluate.run(graph, x).std(0).all()
    assert {"strided", "spread", "pooled", "joined", "apart", "scaled", "summed"} < set(facts["layers"])


@pytest.mark.slow
def test_the_sources_of_every_way_break_no_rule_of_synthesis_and_no_bound_of_an_array(project, tmp_path):
    graph, folder, facts, x = project
    linted = lint.of_project(folder, facts)
    assert linted.findings == () and linted.skipped is None
    np.testing.assert_array_equal(csim.simulate_sanitised(folder, facts, x[:4]), evaluate.run(graph, x[:4]))


@pytest.mark.slow
def test_the_classifier_of_hls4mls_examples_streams_a_pixel_a_clock(tmp_path):
    graph = classifier()
    assert is_streamed(graph, "auto", "Vitis")
    facts, _ = streams_exactly(graph, tmp_path, 10)
    assert facts["ii_estimate"] == 28 * 28
    assert facts["latency_cycles_estimate"] < 28 * 28 + 2 * facts["processes"]
    assert lint.of_project(tmp_path, facts).findings == ()


@pytest.mark.slow
@pytest.mark.parametrize("make", [on_rows, tagger, interaction], ids=["convolutions", "deep sets", "interactions"])
def test_networks_on_rows_stream_a_row_a_beat(make, tmp_path):
    facts, _ = streams_exactly(make(), tmp_path, 10)
    assert facts["field"][0] == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_random_networks_that_join_pixels_stream_as_the_golden_model(seed, tmp_path):
    random = np.random.default_rng(seed)
    streams_exactly(build_cnn(lambda low, high: int(random.integers(low, high, endpoint=True)), 7), tmp_path, 6)


# Patches of a field -----------------------------------------------------------------------------


@given(strategies.data())
@settings(max_examples=60)
def test_patches_of_every_convolution_are_found_and_come_with_their_last_point(data):
    sides, size, strides, spread = (
        tuple(data.draw(strategies.tuples(*[strategies.integers(1, most)] * 2))) for most in (9, 4, 3, 2)
    )
    reach = [(points - 1) * apart + 1 for points, apart in zip(size, spread, strict=True)]
    fits = all(one <= side for one, side in zip(reach, sides, strict=True))
    indices = rows_of(sides, size, strides, spread, not fits or data.draw(strategies.booleans()))
    assume((indices != OUTSIDE).any())
    fit = fitted(indices, sides)
    assert fit is not None
    np.testing.assert_array_equal(fit.indices(), indices)
    loop = fit.loop
    read = np.searchsorted(loop.reads, loop.writes, "right")
    last = indices.reshape(-1, indices.shape[-1]).max(1)
    assert len(loop.reads) == prod(sides) and (read > last).all() and (np.diff(loop.writes) > 0).all()


@pytest.mark.parametrize(
    ("indices", "field"),
    [
        (np.array([[[1], [0]], [[3], [2]]]), (2, 2)),
        (np.array([[[0], [0]], [[1], [1]]]), (1, 2)),
        (np.array([[[OUTSIDE], [0], [1], [OUTSIDE]]] * 2), (1, 2)),
    ],
    ids=["turned", "repeated", "surrounded"],
)
def test_what_is_no_patch_of_a_stream_is_not_taken_for_one(indices, field):
    assert fitted(indices, field) is None


# FIFOs ------------------------------------------------------------------------------------------


@given(cnns(6), strategies.integers(0, 1000))
@settings(max_examples=40)
def test_no_number_of_stages_stops_a_network_that_joins_pixels(graph, seed):
    steps = connected(plan(graph, True))
    known, random = times(steps), np.random.default_rng(seed)
    stages = {step.name: int(random.choice([1, DEEPEST_PIPELINE])) for step in steps}
    assert dataflow(steps, known.depths, stages) is not None
    first, last = dataflow(steps, known.depths, dict.fromkeys(stages, FASTEST_PROCESS))
    assert known.first <= first and known.latency <= last


def test_a_classifier_takes_the_time_of_its_pixels():
    steps = connected(plan(classifier(12), True))
    known, stages = times(steps), dict.fromkeys([step.name for step in steps], FASTEST_PROCESS)
    assert dataflow(steps, known.depths, stages) == (known.first, known.latency)
    assert known.ii == 144 and known.latency < 144 + 2 * known.processes


def test_the_largest_pixel_of_a_field_takes_a_process_for_each_halving():
    builder = Builder("highest")
    x = builder.input("x", (13, 13, 4), PIXEL)
    steps = connected(plan(builder.finish(maxima(builder, "highest", x, np.arange(169))), True))
    assert len(steps) < 5 * 8 and times(steps).memory_bits < 169 * 4 * PIXEL.bits


def test_a_vector_in_another_order_is_no_wider_than_the_pixels_that_it_comes_from():
    builder = Builder("turned")
    x = builder.relu("cut", builder.input("x", (30, 30, 2), PIXEL))
    turned = builder.take(
        "turned", builder.reshape("flat", x, (1800,)), np.arange(1800).reshape(-1, 2).T.reshape(-1), 0
    )
    graph = builder.finish(builder.dense("out", turned, np.ones((1800, 2), np.int64), 0))
    assert [edge.beats for edge in divided(graph)] == [900, 900, 900, 1]


TRACED = """
#ifndef X_HLS_STREAM_H
#define X_HLS_STREAM_H
#include <cstdio>
#include <deque>
namespace hls {
template <class T> class stream {
    std::deque<T> beats;
    const char *name;
  public:
    stream(const char *name = "") : name(name) {}
    T read() { fprintf(stderr, "reads %s\\n", name); T beat = beats.front(); beats.pop_front(); return beat; }
    void write(const T &beat) { fprintf(stderr, "writes %s\\n", name); beats.push_back(beat); }
};
}
#endif
"""


@pytest.mark.slow
def test_processes_read_and_write_at_the_passes_that_their_depths_assume(project, tmp_path, monkeypatch):
    graph, folder, facts, x = project
    traced, lines = shutil.copytree(folder, tmp_path / "traced"), []
    (traced / "firmware" / "ap_types" / "hls_stream.h").write_text(TRACED)

    def run(words, folder, *_):
        lines.extend(subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stderr.splitlines())
        return ""

    monkeypatch.setattr(csim.sanitiser, "run", run)
    csim.simulate(traced, facts, x[:1])
    events = [tuple(line.split()) for line in lines[: len(lines) // 2]]  # the first frame is computed twice
    steps = connected(plan(graph, True))
    inner = [name for name in times(steps).depths if name != "x"]
    variables = dict(zip(inner, facts["fifos"], strict=True)) | {"x": "x", steps[-1].name: "y"}
    for step in steps[1:]:
        reads, writes = step.inputs, step.outputs or (step.name,)
        own = {("reads", variables[name]) for name in reads} | {("writes", variables[name]) for name in writes}
        loop, expected = loop_of(step), []
        for number in range(loop.passes):
            expected += ["reads"] * len(reads) * (number in loop.reads) + ["writes"] * len(writes) * (
                number in loop.writes
            )
        assert [event[0] for event in events if event in own] == expected, step.name


def users_classifier():
    """Return a QKeras classifier of fields with two convolutions, both poolings, a mean and dense layers."""
    from keras_models import activation, bits, model_of, qconv, qdense

    from edgephys.networks.backend import keras

    relu = "quantized_relu(5, 2)"
    return model_of(
        (17, 18, 2),
        *(qconv(3, 3, "one", padding="valid"), activation(relu, "a"), keras.layers.MaxPooling2D(2)),
        *(qconv(4, 3, "two", strides=2, padding="same"), activation(relu, "b"), keras.layers.AveragePooling2D(2)),
        *(activation(bits(6, 2), "c"), keras.layers.Flatten(), qdense(6, "d"), activation(relu, "e"), qdense(5, "f")),
    )


@pytest.mark.slow
def test_a_users_classifier_streams_and_is_verified_with_all_that_checks_it(run, tmp_path):
    users_classifier().save(tmp_path / "model.keras")
    words = ("--input-format", "fixed<6,3>", "--count", 100, "--out", tmp_path / "imported")
    assert run("import", tmp_path / "model.keras", *words).status == 0
    emitted = run("emit", tmp_path / "imported", "--to", "hls", "--out", tmp_path / "p")  # io is auto
    assert emitted.status == 0, emitted.err
    assert (tmp_path / "p" / "firmware" / "firmware" / "nnet_utils" / "nnet_edgephys_stream.h").is_file()
    verified = run("verify", tmp_path / "p", "--json")
    assert verified.status == 0 and verified.json["mismatches"] == 0, verified.err
    assert [linted["findings"] for linted in verified.json["lint"]] == [[]]


# The choice of the user -------------------------------------------------------------------------


def test_a_large_field_whose_pixels_are_joined_streams_where_nothing_is_said():
    assert is_streamed(classifier(17), "auto", "Vitis") and not is_streamed(classifier(16), "auto", "Vitis")
    assert not is_streamed(classifier(17), "parallel", "Vitis") and is_streamed(classifier(16), "stream", "Vitis")
    with pytest.raises(UsageError, match=r"^backend must be Vitis or Vivado .*; or use io 'parallel'$"):
        is_streamed(classifier(17), "auto", "Catapult")


def test_a_network_that_is_no_stream_is_not_sent_back_and_forth(tmp_path):
    builder = Builder("row")
    graph = builder.finish(builder.relu("relu", builder.input("x", (5,), PIXEL)))
    with pytest.raises(ModelError, match=r"^graph 'row': a stream needs .*; leave io out$"):
        emit(graph, tmp_path / "stream", STREAM)
    assert emit(graph, tmp_path / "auto", HlsOptions())["io_type"] == "io_parallel"
    for io in ("auto", "stream", "parallel"):  # what joins pixels is refused by none
        emit(classifier(10), tmp_path / io / "cnn", HlsOptions(io=io))
