"""Roll-out in hardware: frames in block RAM, and as many steps as a start asks for, in the golden model's integers."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from rollout_graphs import STATE, fields, stepped

from edgephys.core.errors import MismatchError, ModelError, ProjectError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.feedback import Feedback, feedback, rolled_out
from edgephys.project import read
from edgephys.targets.rtl import design, figures, gate_level, lint, place, rollout_simulate, scan, simulate, synth
from edgephys.targets.rtl import emit as rtl
from edgephys.targets.rtl.options import RtlOptions
from edgephys.targets.rtl.rollout_simulate import STEPS

ROLLOUT = Path("src") / "edgephys_rollout.v"


def emitted(graph, folder, state=2):
    return rtl.emit(graph, folder, RtlOptions(io="stream", rollout=state))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder, graph = tmp_path_factory.mktemp("rollout"), stepped()
    return graph, folder, emitted(graph, folder)


def changed(project, folder, before, after):
    """Emit the project again, with a text of its roll-out replaced."""
    facts = emitted(project[0], folder)
    text = (folder / ROLLOUT).read_text()
    assert before in text
    (folder / ROLLOUT).write_text(text.replace(before, after))
    return facts


# The golden model -------------------------------------------------------------------------------


def test_the_output_takes_the_place_of_the_newest_frame_and_what_is_no_state_stays():
    x, output = np.arange(5)[None], np.array([[7, 8]])
    assert Feedback(4, 2, 5).fed_back(x, output).tolist() == [[2, 3, 7, 8, 4]]
    assert Feedback(4, 2, 5).frames == 2
    assert Feedback(2, 2, 5).fed_back(x, output).tolist() == [[7, 8, 2, 3, 4]]


def test_a_roll_out_evaluates_the_graph_once_a_step():
    graph = stepped()
    x, of = fields(graph, 2), feedback(graph, 2)
    states = rolled_out(graph, of, x, (0, 1, 3))
    assert np.array_equal(states[:, 0], x)
    for _ in range(3):
        x = np.concatenate([x[..., 1:2], evaluate.run(graph, x), x[..., 2:]], -1)
    assert np.array_equal(states[:, 2], x)
    assert np.array_equal(states[:, 1, ..., 2], x[..., 2])


# The hardware -----------------------------------------------------------------------------------


def rolled_out_as_the_golden_model(graph, folder, facts, state, count=5):
    x = fields(graph, count)
    simulated = rollout_simulate.simulate(folder, facts, x)
    expected = rolled_out(graph, feedback(graph, state), x, STEPS)
    assert len(np.unique(expected)) > 20
    np.testing.assert_array_equal(simulated.states, expected)
    stated = facts["rollout"]
    assert (simulated.step_cycles, simulated.run_cycles) == (stated["step_cycles"], stated["last_step_cycles"])
    return stated


@pytest.mark.slow
def test_every_integer_of_the_state_is_the_golden_model_s_after_runs_of_several_numbers_of_steps(project):
    graph, folder, facts = project
    stated = rolled_out_as_the_golden_model(graph, folder, facts, 2)
    assert STEPS == (1, 4, 7)
    assert stated["step_cycles"] == 16  # one clock a pixel: the next step pushes this one out
    assert stated["last_step_cycles"] == 16 + facts["latency"] + 2
    assert stated["memory_bits"] == 3 * 16 * 8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "state", "passes"),
    [
        ({}, 3, 1),  # three frames, no map
        ({}, 1, 1),  # one frame and a map of two channels
        ({"field": (6, 5)}, 2, 1),
        ({"field": (3, 3), "layers": 3}, 2, 3),  # a latency longer than two frames
        ({"field": (1, 1)}, 2, 9),
        ({"channels": 5, "frame": 2}, 4, 1),  # two frames of two channels
        ({"channels": 1, "field": (8, 8)}, 1, 1),
        ({"output": Fixed(True, 6, 2, Rounding.RND_CONV, Overflow.SAT)}, 2, 1),  # fewer bits than the input
        ({"output": Fixed(False, 7, 3, Rounding.RND_CONV, Overflow.SAT)}, 2, 1),  # without a sign
    ],
)
def test_states_of_every_layout_and_latency_roll_out(shape, state, passes, tmp_path):
    graph = stepped(**shape)
    facts = emitted(graph, tmp_path, state)
    pixels = graph.input.shape[0] * graph.input.shape[1]
    assert rolled_out_as_the_golden_model(graph, tmp_path, facts, state)["step_cycles"] == passes * pixels


def test_the_streaming_core_is_the_same_with_and_without_a_roll_out(project, tmp_path):
    graph, folder, facts = project
    alone = emitted(graph, tmp_path, 0)
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes()
    assert {**facts, "rollout": None, "sources": None} == {**alone, "rollout": None, "sources": None}
    assert facts["sources"] == [*alone["sources"], "src/edgephys_memory.v", str(ROLLOUT)]


@pytest.mark.slow
def test_the_core_of_a_roll_out_streams_as_before(project):
    graph, folder, facts = project
    x = fields(graph, 4)
    np.testing.assert_array_equal(simulate.simulate(folder, facts, x).outputs, evaluate.run(graph, x))


@pytest.mark.slow
def test_frames_lie_in_block_ram_and_a_module_is_counted_by_itself(tmp_path):
    facts = emitted(stepped((40, 32)), tmp_path)
    sources = [tmp_path / name for name in facts["sources"]]
    found = synth.synthesise(sources, "edgephys_rollout", split=("edgephys_top",))
    memory = found.per_module["edgephys_memory"]
    assert memory.copies == 3
    assert memory.cells.bram > 0 == memory.cells.lutram == memory.cells.lut
    assert {"edgephys_top", "edgephys_rollout", "layer_window_0", "edgephys_marker"} <= found.per_module.keys()
    assert found.cells.lut == sum(part.cells.lut * part.copies for part in found.per_module.values())


@pytest.mark.slow
@pytest.mark.parametrize("family", gate_level.FAMILIES)
@pytest.mark.parametrize("field", [(4, 4), (40, 32)], ids=["in LUTs", "in block RAM"])
def test_the_netlist_of_a_roll_out_computes_the_golden_model_s_states_in_the_time_of_the_rtl(family, field, tmp_path):
    graph = stepped(field)
    facts, x = emitted(graph, tmp_path), fields(graph, 2)
    rtl_run, netlist = rollout_simulate.simulate(tmp_path, facts, x), gate_level.rolled_out(tmp_path, facts, family, x)
    np.testing.assert_array_equal(netlist.states, rolled_out(graph, feedback(graph, 2), x, STEPS))
    assert (netlist.step_cycles, netlist.run_cycles) == (rtl_run.step_cycles, rtl_run.run_cycles)


@pytest.mark.slow
def test_a_roll_out_that_was_placed_and_routed_computes_the_golden_model_s_states(tmp_path):
    builder = Builder("points")  # without a window: its line buffers would lie in LUTs, of which there is no model
    x = builder.input("x", (40, 32, 3), STATE)
    y = builder.dense("mixed", x, np.array([[-5], [7], [3]]), 3)
    graph = builder.finish(builder.requantise("next", y, STATE))
    facts, x = emitted(graph, tmp_path), fields(graph, 3)
    placed = place.place([tmp_path / name for name in facts["sources"]], design.outermost(facts))
    simulated = gate_level.rolled_out_as_routed(tmp_path, facts, placed.netlist, x)
    np.testing.assert_array_equal(simulated.states, rolled_out(graph, feedback(graph, 2), x, STEPS))


@pytest.mark.slow
def test_no_tool_objects_to_a_roll_out_and_each_reads_its_top(project, tmp_path):
    _, folder, facts = project
    assert [(entry.tool, entry.findings) for entry in lint.of_project(folder, facts)][:2] == [
        ("verilator", ()),
        ("yosys", ()),
    ]
    facts = changed(project, tmp_path, "wire stored =", "wire nothing;\n  wire stored = nothing ||")
    line = (tmp_path / ROLLOUT).read_text().split("wire nothing")[0].count("\n") + 1
    said, synthesised, _ = lint.of_project(tmp_path, facts)
    assert said.findings[0].startswith(f"{ROLLOUT}:{line}: UNDRIVEN")
    assert synthesised.findings == (f"{ROLLOUT}:{line}: no-driver: edgephys_rollout.nothing",)


# Faults are caught --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("replaced <= replaced == 1'd1 ? 1'd0 : replaced + 1;", "replaced <= replaced;"),
        ("oldest_q <= oldest;", "oldest_q <= 0;"),
        ("wire write_2 = !busy && write[2];", "wire write_2 = write[2];"),
    ],
    ids=["order of frames", "order of reading", "writes in a run"],
)
def test_a_fault_in_the_control_is_a_mismatch(before, after, project, tmp_path):
    graph, x = project[0], fields(project[0], 3)
    simulated = rollout_simulate.simulate(tmp_path, changed(project, tmp_path, before, after), x)
    assert (simulated.states != rolled_out(graph, feedback(graph, 2), x, STEPS)).any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("left == 16'd1;", "left == 16'd0;", "must take 27 clocks and 16 more for each further step, not 43 and 16"),
        ("start && steps != 0;", "start;", "must take 27 clocks"),
        ("run_end || (start", "(start", "not 27 and 16, and end with done"),
        ("valid_in <= !reset && busy && !run_end;", "valid_in <= busy;", "must take 27 clocks"),
    ],
    ids=["one step more", "no steps", "no done", "pixels after a run"],
)
def test_a_run_of_another_time_than_stated_is_refused(before, after, what, project, tmp_path):
    with pytest.raises(MismatchError, match=re.escape(what)):
        rollout_simulate.simulate(tmp_path, changed(project, tmp_path, before, after), fields(project[0], 1))


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"top": "a b"}, "top of the roll-out"),
        ({"bench": "$x"}, "bench of the roll-out"),
        ({"bench_source": "../x.v"}, "x.v"),
        ({"step_cycles": -1}, "step_cycles of the roll-out"),
        ({"input": [{"bits": "x", "shape": [1]}]}, "bits and shape of a port"),
    ],
)
def test_facts_of_a_roll_out_that_would_mislead_a_tool_are_refused(facts, what, project):
    _, folder, own = project
    scan.scan(folder, own)
    with pytest.raises(ProjectError, match=what):
        scan.scan(folder, {**own, "rollout": {**own["rollout"], **facts}})


# What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [4, 100])
def test_a_state_of_channels_that_the_input_has_not_is_refused(state, tmp_path):
    with pytest.raises(UsageError, match=rf"channels of the state must be 1..3 of the input \(4, 4, 3\), not {state}"):
        emitted(stepped(), tmp_path, state)


def test_a_state_of_no_whole_frames_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"1\.\.5 in whole frames of 2, the channels of the output, .* not 3"):
        emitted(stepped(channels=5, frame=2), tmp_path, 3)


@pytest.mark.parametrize("output", [Fixed(True, 9, 4), Fixed(True, 9, 5), Fixed(False, 8, 4)])
def test_an_output_that_is_not_in_the_input_s_format_is_refused(output, tmp_path):
    words = rf"a roll-out needs an output in the input's format {STATE}, not {output}; train with the input's format"
    with pytest.raises(ModelError, match=re.escape(words)):
        emitted(stepped(output=output), tmp_path)


def test_an_output_of_another_shape_is_refused():
    builder = Builder("pooled")
    graph = builder.finish(
        builder.requantise("sum", builder.sum("sum", builder.input("x", (4, 4, 3), STATE), 0), STATE)
    )
    with pytest.raises(ModelError, match=r"an output of the input's shape \(4, 4\) without channels, not \(4,\)"):
        feedback(graph, 2)


@pytest.mark.parametrize("io", ["parallel", "auto"])
def test_a_network_that_is_laid_out_in_parallel_is_refused(io, tmp_path):
    builder = Builder("points")
    graph = builder.finish(builder.requantise("next", builder.input("x", (4, 4, 1), STATE), STATE))
    with pytest.raises(UsageError, match="'points': a roll-out goes with a field that is streamed, a pixel a clock"):
        rtl.emit(graph, tmp_path, RtlOptions(io=io, rollout=1))


def test_a_negative_number_of_channels_is_refused():
    with pytest.raises(
        UsageError, match=r"rollout must be 1\.\.4096, the channels that hold the state, or 0 for none, not -1"
    ):
        RtlOptions(rollout=-1)


# As users meet it -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_wave_in_hardware_runs_back_to_the_integers_that_it_came_from(tmp_path):
    from test_gated_operator import NET, operator_of  # loads Keras
    from test_gated_operator import fields as waves

    from edgephys.models.files.keras import lower

    graph, x = lower(operator_of(NET, 1)[0], NET.input, "operator"), waves(NET, 1, largest=300)
    facts = emitted(graph, tmp_path)
    states = rollout_simulate.simulate(tmp_path, facts, x).states
    np.testing.assert_array_equal(states, rolled_out(graph, feedback(graph, 2), x, STEPS))
    assert np.abs(states[..., :2]).max() < 2**14 - 1  # nothing saturates
    back = rollout_simulate.simulate(tmp_path, facts, states[:, -1][..., [1, 0, 2]]).states
    np.testing.assert_array_equal(back[:, -1], x[..., [1, 0, 2]])


@pytest.fixture(scope="module")
def small_waves(tmp_path_factory, run):
    """A project of a small wave network with a roll-out of both frames."""
    from wave_model import NET, save_waves  # loads Keras

    top = tmp_path_factory.mktemp("waves")
    words = ("--to", "rtl", "--io", "stream", "--rollout", NET.frames, "--vectors", 4, "--out", top / "project")
    assert run("emit", save_waves(top / "model"), *words).status == 0
    return top / "project", NET


@pytest.mark.slow
def test_a_project_with_a_roll_out_is_verified_and_its_report_states_memory_and_clocks(small_waves, run):
    folder, net = small_waves
    before = run("report", folder, "--no-synth", "--json").json["figures"]
    verified = run("verify", folder, "--json").json["targets"]["rtl_rollout"]
    assert (verified["mismatches"], verified["steps"]) == (0, list(STEPS))
    after = {figure["name"]: figure for figure in run("report", folder, "--json").json["figures"]}
    assert after["step_cycles"]["value"] == verified["step_cycles"]
    assert after["step_cycles"]["stage"] == "simulated"
    assert after["rollout_bits"]["value"] == (net.frames + 1) * net.grid**2 * net.input_bits
    assert after["rollout_bram"]["value"] == 0  # so few pixels lie in LUTs
    assert after["lut.edgephys_rollout"]["value"] > 0
    (absent,) = (figure for figure in before if figure["name"] == "step_cycles")
    assert "not verified as it stands" in absent["why"]


@pytest.mark.slow
def test_a_verification_of_netlists_simulates_those_of_the_roll_out_too(small_waves, monkeypatch):
    project = read(small_waves[0])

    def names():
        return [other.name for other in project.target.other_runs(project.emitted, True)]

    of_core = ["rtl_gaps", "rtl_rollout", "netlist_xcup", "netlist_ecp5"]
    assert names() == [*of_core, "rollout_netlist_xcup", "rollout_netlist_ecp5"]
    monkeypatch.setattr(figures, "was_placed", lambda project: True)
    assert names() == [*of_core, "rollout_netlist_xcup", "rollout_netlist_ecp5", "rollout_netlist_ecp5_routed"]


@pytest.mark.slow
def test_a_verification_names_the_place_at_which_a_roll_out_differs(small_waves, tmp_path, run):
    folder = shutil.copytree(small_waves[0], tmp_path / "project")
    path = folder / "firmware" / ROLLOUT
    path.write_text(path.read_text().replace("oldest_q <= oldest;", "oldest_q <= 0;"))
    refused = run("verify", folder)
    assert refused.status == 1
    assert re.search(r"rtl_rollout: layer '\w+' differs first: vector 0, element \[0, 0, 0, 0\]: expected", refused.err)


def test_the_option_is_in_the_help_of_emit(run):
    words = " ".join(run("emit", "--help").out.split())
    assert "--rollout" in words
    assert "first channels of the input" in words
