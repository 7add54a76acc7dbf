"""Roll-out: a network fed with its own frames, and the table of what that costs in each format."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgephys.applications.waves.application import FrameSampling
from edgephys.applications.waves.channels import stride_of
from edgephys.applications.waves.data import files as waves
from edgephys.applications.waves.networks.wave_cnn import WaveCnn
from edgephys.applications.waves.study import roll_out, table_figure
from edgephys.applications.waves.study.roll_out import Horizon
from edgephys.applications.waves.study.shown_run import shown_run
from edgephys.core.errors import DataError, ModelError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.models import trained as artefact
from edgephys.models.files.keras import lower
from edgephys.models.standardise import Standardisation
from edgephys.train import fit as train
from edgephys.train.recipe import Recipe

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "models" / "samples" / "waves.h5"
SMALL = {"grid": 32, "width": 2, "depth": 1, "bits": 6, "input_bits": 15, "input_integer": 3}


def ready_of(net):
    count = len(net.names)
    return Standardisation(net.names, (net.input,) * count, (0,) * count, (1,) * count, (0,) * count, net.input)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A plain network and a compressed one, hardly trained."""
    top = tmp_path_factory.mktemp("waves")
    made = []
    for name in ("full", "one_way"):
        net = WaveCnn(**SMALL, format=name)
        recipe = Recipe(
            "wave_small", net, {32: 1e-3}, epochs=1, batch=16, task=FrameSampling(every=16), validation=0.1, test=0.1
        )
        made.append(artefact.save(train.fit(recipe, SAMPLE), top / name))
    return made


@pytest.fixture(scope="module", autouse=True)
def not_far():
    """Fewer than the 1,000 steps after which a roll-out must be bounded."""
    from edgephys.applications.waves.study import table

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "FAR", 12)
        yield


@pytest.fixture(scope="module")
def of():
    return waves.read(SAMPLE, 2)


def test_a_roll_out_is_one_frame_after_another_in_the_golden_model_s_integers(folders, of):
    trained = artefact.load(folders[1])
    form = trained.standardisation.output
    seen = roll_out.first_frames(trained, of, 5)
    found = form.quantise(roll_out.roll_out(trained.model, seen, 3))
    graph, x = lower(trained.model, form, "wave"), form.quantise(seen)
    for step in range(3):
        frame = evaluate.run(graph, x)
        assert np.array_equal(found[:, step], frame[..., 0])
        x = np.concatenate([x[..., 1:-1], frame, x[..., -1:]], -1)


def test_going_on_straight_is_exact_where_a_field_grows_evenly():
    times = np.arange(6.0)[:, None, None] * np.ones((6, 2, 2)) + 3
    seen = np.concatenate([np.moveaxis(times[:2], 0, -1), np.ones((2, 2, 1))], -1)[None]
    assert np.allclose(roll_out.straight_on(seen, 4)[0], times[2:])


@given(st.floats(0.01, 10), st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_a_frame_that_is_wrong_by_a_share_has_that_error(share, seed):
    true = np.random.default_rng(seed).normal(size=(3, 4, 5, 5)) + 3
    assert np.allclose(roll_out.relative_errors((1 + share) * true, true), share)


def test_a_wave_that_has_gone_out_is_weighed_as_a_tenth_of_its_run():
    true = np.zeros((1, 100, 2, 2))
    true[0, 0] = 1.0
    found = true.copy()
    found[0, 50] = 0.01
    size = np.sqrt(4 / 100)
    assert roll_out.relative_errors(found, true)[0, 50] == pytest.approx(0.02 / (0.1 * size))


def test_runs_that_are_too_short_and_horizons_that_are_none_are_refused(of):
    with pytest.raises(
        DataError, match=r"expected runs of 73 frames and over to roll 60 out, 2 seen before frame 2, found 64"
    ):
        roll_out.check(of, Horizon(60), ready_of(WaveCnn(**SMALL)))
    with pytest.raises(DataError, match="3 seen before frame 2"):
        roll_out.check(of, Horizon(10), ready_of(WaveCnn(**SMALL, frames=3)))
    with pytest.raises(UsageError, match=r"steps and starts must be 1 and over, not 0 and \(2, 13\)"):
        Horizon(0)


@pytest.mark.slow
def test_the_command_writes_a_table_with_a_row_a_network_and_its_pictures(folders, run, tmp_path):
    ended = run("waves", *folders, "--data", SAMPLE, "--steps", "10", "--starts", "2", "--out", tmp_path / "waves")
    assert ended.status == 0, ended.err
    table = json.loads((tmp_path / "waves.json").read_text())
    plain, small = table["rows"]
    assert (plain["format"], small["format"]) == ("full", "one_way")
    assert plain["macs"] == 32 * 32 * (9 * 3 * 2 + 9 * 2) and small["parameters"] < plain["parameters"]
    assert plain["weight_bytes"] == -(-plain["parameters"] * 6 // 8)
    assert (
        set(plain) >= {"seed", "error_1", "error_10", "error_10_error", "seconds_per_epoch"} and "error_25" not in plain
    )
    assert table["over_seeds"][1]["error_1_ratio"] == pytest.approx(small["error_1"] / plain["error_1"])
    page = (tmp_path / "waves.md").read_text()
    assert "*linear extrapolation*" in page and "times fewer parameters" in page
    for name, magic in (("waves.png", b"\x89PNG"), ("waves_fields.png", b"\x89PNG"), ("waves.gif", b"GIF8")):
        assert (tmp_path / name).read_bytes().startswith(magic)
    assert (tmp_path / "waves.gif").stat().st_size < 1_500_000


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--starts", "two"], 2, "--starts must be whole numbers with commas between them, such as 2,13, not two"),
        (["--steps", "70"], 1, "expected runs of 83 frames and over to roll 70 out"),
        (["--steps", "4", "--starts", "2", "--run", "12"], 2, r"run must be 0\.\.11, the runs of"),
    ],
)
def test_what_cannot_be_rolled_out_is_refused_in_one_line(folders, run, tmp_path, words, status, message):
    ended = run("waves", folders[0], "--data", SAMPLE, "--out", tmp_path / "waves", *words)
    assert ended.status == status
    import re

    assert re.search(message, ended.err)


def test_models_that_are_no_wave_networks_or_there_twice_are_refused(folders, run, tmp_path):
    tagger = ROOT / "models" / "zoo" / "jet_mlp_n8_8bit"
    ended = run("waves", tagger, "--data", SAMPLE, "--out", tmp_path / "waves")
    assert ended.status == 2 and "expected a network that advances a wave, found jet_mlp_n8_8bit" in ended.err
    ended = run("waves", folders[0], folders[0], "--data", SAMPLE, "--out", tmp_path / "waves")
    assert ended.status == 2 and "the same network and seed as" in ended.err


# Rows measured earlier --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def earlier(folders, tmp_path_factory):
    """A table of the plain network, four frames far."""
    from edgephys.applications.waves.study import table as networks_table

    table = networks_table.tabulate(folders[:1], SAMPLE, Horizon(4, (2,)), "edgephys waves earlier", lambda text: None)
    path = tmp_path_factory.mktemp("earlier") / "waves.json"
    path.write_text(json.dumps(table))
    return path


def beside(folders, path, horizon=None):
    from edgephys.applications.waves.study import table as networks_table

    return networks_table.tabulate(
        folders, SAMPLE, horizon or Horizon(4, (2,)), "edgephys waves", lambda text: None, path
    )


@pytest.mark.slow
def test_rows_measured_earlier_on_the_same_bytes_stand_in_the_table(folders, earlier, tmp_path):
    """Seconds an epoch are of the run that measured most networks, the first one where as many."""
    from edgephys.applications.waves.study import table_page
    from edgephys.report import render

    table = beside(folders, earlier)
    plain, small = table["over_seeds"]
    assert plain["seconds_per_epoch"] is not None and small["seconds_per_epoch"] is None
    kept, fresh = table["rows"]
    assert (kept["format"], kept["measured_by"], fresh["format"], fresh["measured_by"]) == ("full", 0, "one_way", 1)
    before = json.loads(earlier.read_text())
    assert {**kept, "measured_by": 0} == {**before["rows"][0], "measured_by": 0}
    assert [run["command"] for run in table["runs"]] == ["edgephys waves earlier", "edgephys waves"]
    assert table["over_seeds"][1]["error_1_ratio"] == pytest.approx(fresh["error_1"] / kept["error_1"])
    page = render.page(table_page.table(table), "waves")
    assert "1 in `edgephys waves earlier`, on" in page and "the seconds an epoch are of this run alone" in page
    (tmp_path / "again.json").write_text(json.dumps(table))
    again = beside(folders[1:], tmp_path / "again.json")
    assert [row["measured_by"] for row in again["rows"]] == [0, 1] and len(again["runs"]) == 3


@pytest.mark.slow
def test_pictures_show_the_truth_the_solver_and_the_networks_of_least_error_at_the_end(folders):
    shown = shown_run(folders, SAMPLE, Horizon(3, (2,)), 1)
    of = waves.read(SAMPLE)
    assert shown.name == "run 1 of waves.h5" and np.array_equal(shown.truth, of.frames[1, 2:5])
    solver, *networks = shown.others
    assert solver.name == "solver, 1 cell a point" and solver.errors.max() < 0.03
    assert sorted(one.name for one in networks) == ["full, 6 bits", "one_way, 6 bits"]
    assert networks[0].errors[-1] <= networks[1].errors[-1]
    for one in shown.others:
        assert one.frames.shape == shown.truth.shape and one.errors.shape == (3,)
    picture, film = table_figure.fields(shown, (1, 3)), table_figure.film(shown)
    assert picture.startswith(b"\x89PNG") and film.startswith(b"GIF8")
    assert shown_run(folders[:1], SAMPLE, Horizon(3, (2,)), 1).others[1].name == "full, 6 bits"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda t: t | {"data": {**t["data"], "sha256": "0" * 64}},
            r"its data must be .*, as here, not .*0000.*measure",
        ),
        (
            lambda t: t | {"data": {"file": "waves.h5"}},
            "expected rows and the hash of the data that they were measured",
        ),
        (lambda t: t | {"horizon": {"steps": 5, "starts": [2]}}, r"its horizon must be .*4.*, as here, not .*5"),
        (lambda t: t | {"rows": []}, "expected rows and the hash of the data .*, found 0 rows"),
        (lambda t: {"rows": [{}]}, r"expected a table of wave networks in JSON, found no 'format'"),
        (lambda t: 3, "expected a table of wave networks in JSON, found a value of another kind: "),
    ],
)
def test_a_table_of_other_data_or_another_horizon_is_refused(folders, earlier, tmp_path, spoil, message):
    path = tmp_path / "spoiled.json"
    path.write_text(json.dumps(spoil(json.loads(earlier.read_text()))))
    with pytest.raises(UsageError, match=message):
        beside(folders[1:], path)


@pytest.mark.slow
def test_a_network_whose_errors_are_not_those_of_its_earlier_row_is_refused(folders, earlier, tmp_path):
    table = json.loads(earlier.read_text())
    table["rows"][0]["error_1"] += 1e-12
    path = tmp_path / "other.json"
    path.write_text(json.dumps(table))
    with pytest.raises(
        DataError, match=r"seed 1, error_1: expected .*, as the earlier table states, found .*; another"
    ):
        beside(folders, path)
    missing = r"none\.json: expected a table of wave networks in JSON, found no such file or directory; "
    with pytest.raises(UsageError, match=missing):
        beside(folders, tmp_path / "none.json")


@pytest.mark.parametrize("name", ["u-0", "u-33", "u1", "velocity"])
def test_a_network_whose_earlier_frame_has_another_name_is_refused(name):
    form = Fixed(True, 8, 1)
    ready = Standardisation((name, "u0", "speed"), (form,) * 3, (0,) * 3, (1,) * 3, (0,) * 3, form)
    with pytest.raises(
        ModelError, match=rf"expected the earlier frame as u-1 .. u-32, found '{name}'; train again: `edgephys train"
    ):
        stride_of(ready)
