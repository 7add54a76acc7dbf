"""Roll-out in HLS: a top function with the frames in memory runs steps, in the golden model's integers."""

import numpy as np
import pytest
from rollout_graphs import STATE, fields, stepped

from edgephys.core.errors import MismatchError, ModelError, ProjectError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.build import Builder
from edgephys.graph.feedback import feedback, rolled_out
from edgephys.targets.hls import csim, emit, lint
from edgephys.targets.hls.options import HlsOptions
from edgephys.targets.hls.scan import scan
from edgephys.targets.rollout import STEPS

SOURCE = "firmware/stepped_top_rollout.cpp"


def emitted(graph, folder, state=2, **options):
    return emit.emit(graph, folder, HlsOptions(io="stream", rollout=state, **options))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder, graph = tmp_path_factory.mktemp("rollout"), stepped()
    return graph, folder, emitted(graph, folder)


@pytest.mark.slow
def test_every_integer_of_the_state_is_the_golden_model_s_after_several_numbers_of_steps(project):
    graph, folder, facts = project
    x = fields(graph, 4)
    expected = rolled_out(graph, feedback(graph, 2), x, STEPS)
    np.testing.assert_array_equal(csim.simulate_rollout(folder, facts, x), expected)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["Vitis", "Vivado"])
@pytest.mark.parametrize(
    ("shape", "state"),
    [
        ({"channels": 5, "frame": 2}, 4),  # two frames of two channels
        ({"field": (6, 5), "layers": 2, "output": Fixed(True, 6, 2, Rounding.RND_CONV, Overflow.SAT)}, 3),
    ],
)
def test_states_of_every_layout_roll_out_with_every_access_checked(shape, state, backend, tmp_path):
    graph = stepped(**shape)
    facts, x = emitted(graph, tmp_path, state, backend=backend), fields(graph, 2)
    scan(tmp_path, facts)
    states = csim.simulate_rollout(tmp_path, facts, x, csim.SANITISED)
    np.testing.assert_array_equal(states, rolled_out(graph, feedback(graph, state), x, STEPS))


@pytest.mark.slow
def test_the_source_breaks_no_published_rule_of_synthesis_and_a_broken_one_is_a_finding(project):
    _, folder, facts = project
    scan(folder, facts)
    assert lint.of_project(folder, facts).findings == ()
    path = folder / SOURCE
    text = path.read_text()
    path.write_text(text.replace("    #pragma HLS INTERFACE ap_none port=steps\n", ""))
    (finding,) = lint.of_project(folder, facts).findings
    path.write_text(text)
    assert SOURCE in finding
    assert "the parameter steps of stepped_top_rollout has no #pragma HLS INTERFACE" in finding


def test_the_other_sources_are_the_same_with_and_without_a_roll_out(project, tmp_path):
    graph, folder, facts = project
    alone = emitted(graph, tmp_path, 0)
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes()
    assert {**facts, "rollout": None} == {**alone, "rollout": None}


@pytest.mark.slow
def test_an_access_outside_of_the_frames_is_caught(project, tmp_path):
    graph = project[0]
    facts = emitted(graph, tmp_path)
    path = tmp_path / SOURCE
    path.write_text(path.read_text().replace("pixel < 16; pixel++", "pixel < 17; pixel++"))
    with pytest.raises(MismatchError, match=r"stepped_top_rollout\.cpp:\d+"):
        csim.simulate_rollout(tmp_path, facts, fields(graph, 1), csim.SANITISED)


def test_sources_and_facts_of_a_roll_out_that_we_do_not_emit_are_refused(project, tmp_path):
    facts = emitted(project[0], tmp_path)
    with pytest.raises(ProjectError, match="top of the roll-out must be stepped_top_rollout, not x"):
        scan(tmp_path, {**facts, "rollout": {**facts["rollout"], "top": "x"}})
    with pytest.raises(ProjectError, match="is neither what we emit nor a header"):
        scan(tmp_path, {name: fact for name, fact in facts.items() if name != "rollout"})
    path = tmp_path / SOURCE
    for word in ("abort", "write"):
        text = path.read_text()
        path.write_text(text.replace("rollout_step(frames, next);", f"{word}(1); rollout_step(frames, next);"))
        with pytest.raises(ProjectError, match=f"the word '{word}'"):
            scan(tmp_path, facts)
        path.write_text(text)


def test_a_network_that_is_laid_out_in_parallel_is_refused(tmp_path):
    builder = Builder("points")
    graph = builder.finish(builder.requantise("next", builder.input("x", (4, 4, 1), STATE), STATE))
    with pytest.raises(UsageError, match="'points': a roll-out goes with a field that is streamed, a pixel a clock"):
        emit.emit(graph, tmp_path, HlsOptions(rollout=1))


def test_an_output_that_is_not_in_the_input_s_format_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ModelError, match="a roll-out needs an output in the input's format"):
        emitted(stepped(output=Fixed(True, 9, 4)), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_project_with_a_roll_out_is_verified_by_the_c_simulation_of_its_states(tmp_path, run):
    from wave_model import NET, save_waves  # loads Keras

    folder, model = tmp_path / "project", save_waves(tmp_path / "model")
    emission = ("emit", model, "--to", "hls", "--io", "stream", "--rollout", NET.frames, "--out", folder)
    assert run(*emission).status == 0
    targets = run("verify", folder, "--json").json["targets"]
    assert [targets[name]["mismatches"] for name in ("csim_rollout", "csim_rollout_sanitised")] == [0, 0]
