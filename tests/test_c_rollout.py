"""Roll-out in C: PREFIX_rollout runs as many steps as asked for, in the golden model's integers."""

import numpy as np
import pytest
from rollout_graphs import STATE, fields, stepped

from edgephys.core.errors import MismatchError, ModelError, ProjectError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.build import Builder
from edgephys.graph.feedback import feedback, rolled_out
from edgephys.targets.c import emit, rollout_run
from edgephys.targets.c.options import COptions
from edgephys.targets.c.scan import scan
from edgephys.targets.rollout import STEPS


def emitted(graph, folder, state=2):
    return emit.emit(graph, folder, COptions(prefix="m", rollout=state))


def rolled_out_as_the_golden_model(graph, folder, state, count=4):
    facts, x = emitted(graph, folder, state), fields(graph, count)
    scan(folder, facts)
    expected = rolled_out(graph, feedback(graph, state), x, STEPS)
    np.testing.assert_array_equal(rollout_run.run(folder, facts, x), expected)
    np.testing.assert_array_equal(rollout_run.run(folder, facts, x, emit.SANITISED), expected)
    return facts


@pytest.mark.parametrize(
    ("shape", "state"),
    [
        ({}, 2),
        ({}, 3),  # no map
        ({"channels": 5, "frame": 2}, 4),  # two frames of two channels
        ({"channels": 4, "frame": 2}, 2),  # one frame
        ({"output": Fixed(True, 6, 2, Rounding.RND_CONV, Overflow.SAT)}, 2),  # fewer bits than the input
    ],
)
def test_every_integer_of_the_state_is_the_golden_model_s_after_several_numbers_of_steps(shape, state, tmp_path):
    graph = stepped(**shape)
    facts = rolled_out_as_the_golden_model(graph, tmp_path, state)
    assert facts["rollout"]["arena_bytes"] >= facts["arena_bytes"] + graph.output.shape[-1] * 16


def test_a_network_without_a_field_rolls_out_too(tmp_path):
    builder = Builder("series")
    y = builder.dense("next", builder.input("x", (4,), STATE), np.array([[-3], [5], [-7], [9]]), 3)
    rolled_out_as_the_golden_model(builder.finish(builder.requantise("next", y, STATE)), tmp_path, 3)


def test_the_other_sources_are_the_same_with_and_without_a_roll_out(tmp_path):
    for name, state in (("alone", 0), ("with", 2)):
        (tmp_path / name).mkdir()
        emitted(stepped(), tmp_path / name, state)
    files = {path.name for path in (tmp_path / "with").iterdir()}
    assert files == {"m.c", "m.h", "m.hpp", "m_rollout.c"}
    for name in ("m.c", "m.hpp"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "with" / name).read_bytes()


def test_an_access_outside_of_the_state_is_caught(tmp_path):
    facts = emitted(stepped(), tmp_path)
    path = tmp_path / "m_rollout.c"
    path.write_text(path.read_text().replace("pixel < 16", "pixel < 17"))
    with pytest.raises(MismatchError, match=r"m_rollout\.c:\d+, m_rollout: reads 1 byte 1 byte past its input"):
        rollout_run.run(tmp_path, facts, fields(stepped(), 1), emit.SANITISED)


def test_a_project_without_the_source_of_its_roll_out_is_refused(tmp_path):
    facts = emitted(stepped(), tmp_path)
    (tmp_path / "m_rollout.c").unlink()
    with pytest.raises(ProjectError, match=r"m_rollout\.c is missing; emit the project again"):
        rollout_run.run(tmp_path, facts, fields(stepped(), 1))


def test_facts_and_sources_of_a_roll_out_that_we_do_not_emit_are_refused(tmp_path):
    facts = emitted(stepped(), tmp_path)
    with pytest.raises(ProjectError, match="rollout: arena_bytes must be a whole number"):
        scan(tmp_path, {**facts, "rollout": {**facts["rollout"], "arena_bytes": "8, abort()"}})
    path = tmp_path / "m_rollout.c"
    path.write_text(path.read_text().replace("m_run(state", "abort(); m_run(state"))
    with pytest.raises(ProjectError, match=r"m_rollout\.c, line \d+: a call or declaration of 'abort'"):
        scan(tmp_path, facts)


def test_an_output_that_is_not_in_the_input_s_format_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ModelError, match="a roll-out needs an output in the input's format"):
        emitted(stepped(output=Fixed(True, 9, 4)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_negative_number_of_channels_is_refused():
    with pytest.raises(
        UsageError, match=r"rollout must be 1\.\.4096, the channels that hold the state, or 0 for none, not -1"
    ):
        COptions(rollout=-1)


@pytest.mark.slow
def test_a_project_with_a_roll_out_is_verified_and_names_the_place_at_which_it_differs(tmp_path, run):
    from wave_model import NET, save_waves  # loads Keras

    folder, model = tmp_path / "project", save_waves(tmp_path / "model")
    emission = ("emit", model, "--to", "c", "--prefix", "m", "--rollout", NET.frames, "--out", folder)
    assert run(*emission).status == 0
    targets = run("verify", folder, "--json").json["targets"]
    assert [targets[name]["mismatches"] for name in ("c_rollout", "c_rollout_sanitised")] == [0, 0]
    path = folder / "firmware" / "m_rollout.c"
    path.write_text(path.read_text().replace("step < steps", "step + 1 < steps"))
    refused = run("verify", folder)
    assert refused.status == 1
    assert "c_rollout: layer " in refused.err
