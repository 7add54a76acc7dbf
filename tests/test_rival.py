"""The rival is given exactly what the net sees, and what it lacks is said in one line; nothing is installed here."""

import dataclasses
import json

import numpy as np
import pytest
import rival
import rival_export
import rival_steps
from hgq2_front import Epoch

from edgephys.applications.jets.networks.linear_interaction import LinearInteractionNetwork
from edgephys.applications.jets.task import of_trained
from edgephys.core import processes as tools
from edgephys.core.errors import ModelError, ToolError, UsageError
from edgephys.models.trained import save
from edgephys.targets.rtl import synth
from edgephys.targets.rtl.cells import Cells

WORDS = ["--model", "m", "--data", "d", "--beta", "1e-6"]
LINEAR = LinearInteractionNetwork(constituents=4, phi=(6,), meeting=5, objects=(4,), rho=(3,), bits=4)
RESULT = {
    "accuracy": 0.25,
    "validation_accuracy": 0.3,
    "ebops": 900,
    "parameters": 99,
    "lut_estimate": 700,
    "delay_estimate_ns": 9.5,
    "latency_cycles": 4,
    "mismatches": 0,
    "vectors": 60,
    "widths": {},
    "top": "rival_top",
}


def with_recipe(model, net, **more):
    recipe = {"net": dataclasses.asdict(net), "validation": 0.1, "test": 0.3, "seed": 1, **more}
    return dataclasses.replace(model, card=dataclasses.replace(model.card, recipe=recipe))


@pytest.fixture(scope="module")
def trained():
    from small_model import NET, trained

    return with_recipe(trained(), NET)


@pytest.fixture(scope="module")
def linear():
    from small_model import trained

    return with_recipe(trained(net=LINEAR), LINEAR, script="jet_linear_interaction")


@pytest.fixture(scope="module")
def task(trained, few_jets):
    return of_trained(trained, few_jets)


def settings(model, task, *words):
    return rival_export.settings_of(model, task, rival.arguments([*WORDS, *words]), "jets.npz", 1e-6, 3)


def test_the_jets_are_those_that_the_net_sees(task, tmp_path):
    name = rival_export.save_jets(rival_export.arrays(task, None, seed=1), tmp_path)
    with np.load(tmp_path / name) as jets:
        for part, (x, y) in {"train": task.train, "validation": task.validation}.items():
            np.testing.assert_array_equal(jets[f"{part}_x"], x)
            np.testing.assert_array_equal(jets[f"{part}_y"], y)
        steps = jets["test_x"] * 2.0**task.input.fraction
        np.testing.assert_array_equal(steps, task.test.inputs)
        np.testing.assert_array_equal(jets["test_y"], task.test.labels)


def test_jets_are_written_once_and_other_jets_have_a_file_of_their_own(task, tmp_path):
    every, few = (rival_export.arrays(task, jets, seed=1) for jets in (None, 50))
    name = rival_export.save_jets(every, tmp_path)
    written = (tmp_path / name).stat().st_mtime_ns
    assert rival_export.save_jets(every, tmp_path) == name != rival_export.save_jets(few, tmp_path)
    assert (tmp_path / name).stat().st_mtime_ns == written


def test_fewer_jets_are_drawn_with_their_labels(task):
    drawn = rival_export.arrays(task, 50, seed=1)
    assert drawn["train_x"].shape[0] == drawn["train_y"].shape[0] == 50
    x, y = task.train
    for jet, label in zip(drawn["train_x"], drawn["train_y"], strict=True):
        same = np.flatnonzero((x == jet).all((1, 2)))
        assert label in y[same]


def test_the_settings_of_a_deep_sets_are_those_of_the_net_and_of_our_circuits(trained, task, tmp_path):
    folder = rival_export.export(settings(trained, task), tmp_path)
    written = json.loads((folder / "settings.json").read_text())
    assert (written["network"], written["family"]) == ("deepsets", "jet_deepsets")
    assert (written["shape"], written["phi"], written["rho"]) == ([4, 3], [6, 5], [5])
    assert written["input"] == [1, task.input.bits, task.input.integer]
    assert (written["beta"], written["seed"], written["cutoff_ns"]) == (1e-6, 3, 5.0)
    assert written["solver"] == {"hard_dc": 2, "binary_lut": False}
    assert written["jets_file"] == "../jets.npz" and folder.parent == tmp_path


def test_the_settings_of_a_linear_interaction_network_hold_all_its_widths(linear, task):
    record = settings(linear, task)
    assert (record["network"], record["family"]) == ("linear_interaction", "jet_linear_interaction")
    assert [record[name] for name in ("phi", "meeting", "objects", "rho")] == [[6], 5, [4], [3]]


def test_a_network_of_tables_has_widths_of_its_own(trained, task):
    record = settings(trained, task, "--layers", "tables")
    assert record["network"] == "table_set" and "phi" not in record


def test_settings_that_differ_have_folders_that_differ(trained, task, tmp_path):
    words = ([], ["--epochs", "9"], ["--no-beta-rises"], ["--cycle", "7"], ["--layers", "tables"])
    assert len({rival_export.export(settings(trained, task, *more), tmp_path) for more in words}) == len(words)


def test_a_missing_environment_is_refused_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        rival.main([*WORDS, "--work", str(tmp_path), "--no-install", "--no-convert"])
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert said.count("\n") == 1 and "no environment of requirements.txt" in said and "--no-install" in said


def test_an_environment_of_other_pins_is_refused(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    (tmp_path / "requirements.sha256").write_text("another")
    with pytest.raises(ToolError, match=r"no environment of requirements\.txt as it is now"):
        rival_steps.interpreter(tmp_path, make=False)


def test_a_half_that_cannot_start_is_an_error(tmp_path):
    with pytest.raises(ToolError, match=r"hgq2_half\.py cannot start"):
        rival_steps.trained_in(tmp_path, tmp_path / "no_python", 10)


def test_a_half_that_leaves_no_record_is_an_error(tmp_path):
    with pytest.raises(ToolError, match=r"it left no .*trained\.json; the \.log files beside it hold its output"):
        rival_steps.record_of(tmp_path / "trained.json")


def test_a_missing_synthesiser_is_said(tmp_path, monkeypatch):
    def missing(name):
        raise ToolError(f"{name} is missing: pip install pyosys")

    monkeypatch.setattr(tools, "find", missing)
    with pytest.raises(ToolError, match="yosys is missing"):
        rival_steps.synthesised(tmp_path, "rival_top", rival.arguments(WORDS))


@pytest.mark.parametrize("name", ["limit", "epochs", "batch", "learning-rate", "cycle"])
def test_a_number_of_nothing_is_refused(name):
    with pytest.raises(UsageError, match=f"--{name} must be above 0, not 0"):
        rival.arguments([*WORDS, f"--{name}", "0"])


def test_one_beta_of_nothing_is_refused():
    with pytest.raises(UsageError, match="--beta must be above 0, not 0"):
        rival.arguments([*WORDS, "0"])


def test_a_net_that_is_no_network_of_the_rival_is_refused(trained, task):
    net = {"constituents": 4, "features": ["pt"], "layers": [5]}
    other = dataclasses.replace(trained, card=dataclasses.replace(trained.card, recipe={"net": net}))
    with pytest.raises(ModelError, match="the rival is built as a Deep Sets, with phi and rho, or as a linear inter"):
        settings(other, task)


def test_a_mean_that_is_no_shift_is_refused(trained, task):
    from small_model import NET

    other = with_recipe(trained, dataclasses.replace(NET, constituents=6))
    with pytest.raises(ModelError, match="constituents must be a power of two, not 6"):
        settings(other, task)


# All steps, without the rival's environment -------------------------------------------------------


class Half:
    """Stand for the other part: epochs whose EBOPs fall, and a circuit."""

    def __init__(self):
        self.calls = []

    def __call__(self, python, words, log, timeout_s):
        folder = rival.Path(words[1])
        written = json.loads((folder / "settings.json").read_text())
        self.calls.append((words[0], written["network"], written["beta"], written["seed"], *words[2:]))
        if words[0] == "train":
            gain = 0.01 * written["seed"] + 1e4 * written["beta"]
            lines = [
                {"epoch": 1, "val_accuracy": 0.5 + gain, "ebops": 9000, "seconds": 1},
                {"epoch": 2, "val_accuracy": 0.4, "ebops": 9500, "seconds": 2},
                {"epoch": 3, "val_accuracy": 0.49 + gain, "ebops": 1000, "seconds": 3},
            ]
            (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            record = {"train_seconds": 3, "versions": {"hgq2": "0"}}
            (folder / "trained.json").write_text(json.dumps(record))
        else:
            out = folder / f"epoch_{words[2]}"
            out.mkdir()
            (out / "result.json").write_text(json.dumps(RESULT | {"accuracy": 0.2 + 0.1 * written["seed"]}))


@pytest.fixture
def run(trained, linear, few_jets, tmp_path, monkeypatch):
    half, designs = Half(), []

    def synthesise(modules, top, **limits):
        designs.append(top)
        return synth.Synthesised(Cells(lut=600, ff=50), {}, 1.0, False, "xcup", "yosys", "0.70")

    monkeypatch.setattr(rival_steps, "half", half)
    monkeypatch.setattr(rival, "interpreter", lambda venv, make: tmp_path / "python")
    monkeypatch.setattr(synth, "synthesise", synthesise)
    folders = [str(save(trained, tmp_path / "sets")), str(save(linear, tmp_path / "linear"))]
    words = ["--data", str(few_jets), "--beta", "1e-6", "3e-6", "--seed", "1", "2"]
    words += ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "rival")]

    def start(*more, models=2):
        more = (*more, "--model", *folders[:models])
        half.calls.clear()
        designs.clear()
        rival.main([*words, *more])
        return json.loads((tmp_path / "rival.json").read_text()), half.calls, designs

    return start


def test_each_network_beta_and_seed_is_trained_and_the_best_epochs_get_rows(run):
    record, calls, designs = run("--limit", "1000", "9000")
    assert [call for call in calls if call[0] == "train"] == [
        ("train", network, beta, seed)
        for network in ("deepsets", "linear_interaction")
        for seed in (1, 2)
        for beta in (1e-6, 3e-6)
    ]
    rows = [row for row in record["rows"] if row["network"] == "deepsets"]
    assert [(row["limit"], row["seed"], row["beta"], row["epoch"]) for row in rows] == [
        (1000, 1, 3e-6, 3), (1000, 2, 3e-6, 3), (9000, 1, 3e-6, 1), (9000, 2, 3e-6, 1),
    ]  # fmt: skip
    assert rows[0]["lut"] == 600 and rows[0]["lut_stage"] == "synthesised" and rows[0]["versions"]["yosys"] == "0.70"
    assert rows[0]["epoch_ebops"] == 1000 and rows[0]["ebops"] == 900 and len(designs) == 8
    means = [mean for mean in record["over_seeds"] if mean["network"] == "linear_interaction"]
    assert [(mean["limit"], mean["seeds"], mean["lut"]) for mean in means] == [(1000, [1, 2], 600), (9000, [1, 2], 600)]
    assert means[0]["accuracy"] == pytest.approx(0.35) and means[0]["accuracy_deviation"] == pytest.approx(0.0707107)
    assert [len(front["front"]) for front in record["fronts"]] == [2] * 8


def test_a_second_run_does_nothing_again_and_more_betas_train_alone(run):
    record, *_ = run("--limit", "1000", models=1)
    again, calls, designs = run("--limit", "1000", models=1)
    assert again["rows"] == record["rows"] and not calls and not designs
    more, calls, designs = run("--limit", "1000", "--beta", "1e-6", "3e-6", "1e-5", models=1)
    assert {call[2] for call in calls if call[0] == "train"} == {1e-5} and len(designs) == 2
    assert {tuple(row["betas"]) for row in more["rows"]} == {(1e-6, 3e-6), (1e-6, 3e-6, 1e-5)}


def test_without_synthesis_the_luts_are_estimates_and_say_so(run, tmp_path):
    record, _, designs = run("--limit", "1000", "--no-synth", models=1)
    assert not designs and {(row["lut"], row["lut_stage"], row["ff"]) for row in record["rows"]} == {
        (700, "estimated", None)
    }
    assert "| 700 (estimated) |" in (tmp_path / "rival.md").read_text()


def test_a_limit_that_no_epoch_meets_is_said_and_has_no_row(run, capsys):
    record, *_ = run("--limit", "10", "1000", models=1)
    assert {row["limit"] for row in record["rows"]} == {1000}
    assert "seed 1: no epoch of at most 10 EBOPs; train longer, or with a higher beta" in capsys.readouterr().err


def test_without_limits_the_points_are_those_of_all_seeds_together():
    epochs = [Epoch("a", 1, 0.60, 100), Epoch("a", 2, 0.63, 1000), Epoch("b", 1, 0.64, 10_000)]
    points = rival.points(epochs, {"a": 1, "b": 2}, None)
    assert [(limit, epoch.run, epoch.number) for limit, epoch, _ in points] == [
        (100, "a", 1), (1000, "a", 2), (10_000, "a", 2), (10_000, "b", 1),
    ]  # fmt: skip
    assert [on_front for *_, on_front in points] == [2, 2, 2, 1]
