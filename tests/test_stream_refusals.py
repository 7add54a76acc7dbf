"""What has no stream of a pixel a clock is refused by name, in emission and on the command line."""

import json
import re

import every_target
import numpy as np
import pytest
from random_graphs import vectors
from rtl_graphs import INPUT, assert_same_in_any_process, blurred, tagger

from edgephys.core.errors import ModelError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph
from edgephys.targets.registry import TARGETS
from edgephys.targets.rtl import emit as rtl
from edgephys.targets.rtl import sweep
from edgephys.targets.rtl.options import RtlOptions

# What is refused ----------------------------------------------------------------------------------


def refused(last) -> Graph:
    builder = Builder("refused")
    x = builder.input("x", (4, 3, 2), INPUT)
    return builder.finish(last(builder, builder.window("w", x, (3, 3))))


ONE = np.ones((4, 1, 1), np.int64)


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (lambda b, x: b.sum("total", x, 0), r"layer 'total': sum 'total_sum' does not keep the pixels apart"),
        (lambda b, x: b.reshape("flat", x, (216,)), r"layer 'flat': reshape 'flat_reshape' does not keep the pixels"),
        (lambda b, x: b.take("first", x, [0, 1], 0), r"layer 'first': take 'first_take' does not keep the pixels"),
        (lambda b, x: b.concat("twice", (x, x), 1), r"layer 'twice': concat 'twice_concat' does not keep the pixels"),
        (
            lambda b, x: b.bias("ramp", x, np.arange(4).reshape(4, 1, 1) * ONE, 0),
            r"layer 'ramp': bias 'ramp_bias' differs from pixel to pixel",
        ),
    ],
    ids=["sum", "reshape", "take", "concat", "bias"],
)
def test_a_layer_without_a_stream_is_named_and_nothing_is_written(last, message, tmp_path):
    graph = refused(last)
    hint = r", so it has no stream of one pixel a clock; use io 'parallel', which lays out all 12 pixels, or leave "
    with pytest.raises(ModelError, match=f"^{message}.*{hint}"):
        rtl.emit(graph, tmp_path, RtlOptions(io="stream"))
    assert not list(tmp_path.iterdir())
    assert rtl.emit(graph, tmp_path, RtlOptions())["io"] == "parallel"  # 'auto' lays out a field as small as this


def test_rows_are_no_field(tmp_path):
    with pytest.raises(ModelError, match=r"^graph 'tagger': a stream needs a field .*, not \(5, 3\); leave io out$"):
        rtl.emit(tagger(), tmp_path, RtlOptions(io="stream"))


def test_a_stream_has_no_vhdl(tmp_path):
    with pytest.raises(UsageError, match=r"language must be verilog for a field that is streamed, not vhdl; io 'paral"):
        rtl.emit(blurred(), tmp_path, RtlOptions("vhdl"))
    assert rtl.emit(blurred(), tmp_path, RtlOptions("vhdl", io="parallel"))["language"] == "vhdl"


def test_another_io_is_refused():
    with pytest.raises(UsageError, match=r"^io must be one of auto, parallel, stream, not 'serial'$"):
        RtlOptions(io="serial")


def test_a_stream_is_not_swept():
    with pytest.raises(UsageError, match=r"model 'blurred': its fields are streamed, .*; give `edgephys emit` a --cut"):
        sweep.sweep(blurred(), vectors(blurred(), 2), 10.0)


def test_two_emissions_are_the_same_bytes_in_any_process(tmp_path):
    program = (
        "import json, sys; from pathlib import Path; sys.path.insert(0, 'tests'); import numpy as np\n"
        "from random_graphs import build_field, WITH_RTL\n"
        "from edgephys.targets.rtl.emit import emit\n"
        "from edgephys.targets.rtl.options import RtlOptions\n"
        "generator, folder = np.random.default_rng(8), Path(sys.argv[1])\n"
        "graph = build_field(lambda low, high: int(generator.integers(low, high, endpoint=True)), WITH_RTL, 9, 7)\n"
        "(folder / 'facts.json').write_text(json.dumps(emit(graph, folder, RtlOptions(clock_ns=1.0))))\n"
    )
    assert_same_in_any_process(program, tmp_path)


# The command line ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def waves(tmp_path_factory):
    from wave_model import save_waves  # loads Keras

    return save_waves(tmp_path_factory.mktemp("waves") / "small")


@pytest.mark.slow
def test_emit_streams_a_field_by_itself_and_verify_and_report_tell_a_frames_time(run, waves, tmp_path):
    folder = tmp_path / "small_rtl"
    assert run("emit", waves, "--to", "rtl", "--out", folder).status == 0
    facts = json.loads((folder / "edgephys.json").read_text())["facts"]
    assert (facts["io"], facts["field"], facts["lag"]) == ("stream", [6, 6], 2 * (6 + 1))
    verified = run("verify", folder, "--json")
    assert verified.status == 0, verified.err
    record = verified.json
    assert (record["vectors"], record["outputs"], record["mismatches"]) == (8, 8 * 36, 0)
    timed, with_gaps = record["targets"]["rtl"], record["targets"]["rtl_gaps"]
    assert with_gaps["vectors"] == 8 and with_gaps["generated"] == record["generated"] >= 64
    assert timed["latency_first_cycles"] == facts["latency"] and timed["ii"] == 36
    assert timed["latency_cycles"] == facts["latency"] + 35
    assert f"({facts['latency']} to the first pixel)" in " ".join(run("verify", folder).out.split())
    figures = {figure["name"]: figure for figure in run("report", folder, "--no-synth", "--json").json["figures"]}
    assert (figures["relative_l2"]["value"], figures["relative_l2"]["target"]) == (0.9, "8 held-out test fields")
    assert "accuracy" not in figures
    for name in ("latency_cycles", "latency_first_cycles", "ii"):
        assert figures[name]["value"] == timed[name] and figures[name]["stage"] == "simulated"
        assert figures[name]["target"].endswith("; for a frame of 6x6 pixels, one a clock")
    assert figures["latency_ns"]["value"] == 5 * timed["latency_cycles"]
    assert figures["memory_bits"]["value"] == facts["memory_bits"] and figures["memory_bits"]["stage"] == "estimated"


@pytest.mark.parametrize("always", [1, 0])
@pytest.mark.slow
def test_verify_names_the_layer_of_a_stream_that_was_changed(run, waves, tmp_path, always):
    """Rows above that are never read give other pixels; those that always are, other pixels after other frames."""
    folder = tmp_path / "small_rtl"
    assert run("emit", waves, "--to", "rtl", "--out", folder, "--vectors", 3).status == 0
    source = folder / "firmware" / "src" / "layer_stage_1_down_window.v"
    text, number = re.subn(r"wire no_row_0 = .*;", f"wire no_row_0 = {always};", source.read_text())
    assert number == 1
    source.write_text(text)
    ended = run("verify", folder)
    assert ended.status == 1
    assert re.search(r"rtl: layer 'stage_1_down_window' differs first: vector", " ".join(ended.err.split())), ended.err


def test_io_goes_with_firmware(run, waves, tmp_path):
    ended = run("emit", waves, "--to", "c", "--io", "stream", "--out", tmp_path / "p")
    assert ended.status == 2 and "--io goes with --to hls or rtl, not with --to c; leave it out" in ended.err


# Pixels that are too wide for a stream of HLS -------------------------------------------------------


def wide() -> Graph:
    """Return a field whose window has 512 numbers of 9 bits."""
    builder = Builder("wide")
    window = builder.window("w", builder.input("x", (3, 4, 2), Fixed(True, 9, 4)), (16, 16))
    return builder.finish(builder.dense("total", window, np.ones((512, 2), np.int64), 0))


@pytest.mark.parametrize("io", ["auto", "stream"])
def test_a_pixel_that_is_too_wide_for_a_stream_is_refused_with_the_width_that_fits_and_the_other_ways(io, tmp_path):
    hls = TARGETS["hls"]
    message = (
        r"^layer 'w': a pixel of window 'w_window' has 512 numbers of 9 bits, 4608 in all, .* at most 4096, here 455 "
        r"numbers; use fewer channels, .*, state --io parallel, .*, or emit it to rtl$"
    )
    with pytest.raises(ModelError, match=message):
        hls.emit(wide(), tmp_path / "p", hls.options(io=io))


@pytest.mark.slow
@pytest.mark.parametrize(("target", "options"), [("hls", {"io": "parallel"}), ("rtl", {})])
def test_the_ways_that_the_refusal_names_are_open(target, options, tmp_path):
    own = TARGETS[target]
    own.scan(tmp_path, own.emit(wide(), tmp_path, own.options(**options)))


@pytest.mark.slow
@pytest.mark.parametrize(("target", "options"), [("hls", {"io": "parallel"}), ("rtl", {})])
def test_the_ways_that_the_refusal_names_are_exact(target, options, tmp_path):
    every_target.assert_equal(target, wide(), lambda graph: vectors(graph, 20), tmp_path, **options)
