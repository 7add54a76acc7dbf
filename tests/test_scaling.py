"""The scaling table: rows with stages, a run that goes on where it was killed, failures that are said aloud."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scaling_runs import DEEP_SETS, FLOAT, MLP, loaded_once, models, row_of, running_with, table_of, without_seconds

from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ModelError, ToolError
from edgephys.project import read, write_result
from edgephys.report import scaling
from edgephys.report.render import write
from edgephys.targets.rtl.target import RtlTarget
from edgephys.verify.compare import Comparison, Mismatch
from edgephys.verify.run import Verified
from edgephys.workflow import firmware
from edgephys.workflow import steps as table_steps
from edgephys.workflow.firmware import FirmwarePlan

pytestmark = pytest.mark.slow

STEPS = ((table_steps, "emit"), (table_steps, "verify"), (firmware, "gather"))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    import scaling_models  # loads Keras

    top = tmp_path_factory.mktemp("zoo")
    scaling_models.save_all(top)
    return top


@pytest.fixture(scope="module", autouse=True)
def models_are_loaded_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(firmware, "load", loaded_once(firmware.load))
        yield


@pytest.fixture(scope="module")
def finished(zoo, tmp_path_factory):
    """Projects and table of an uninterrupted run."""
    projects = tmp_path_factory.mktemp("scaling")
    return projects, table_of(zoo, projects)


@pytest.fixture
def projects(finished, tmp_path):
    return Path(shutil.copytree(finished[0], tmp_path / "projects"))


@pytest.fixture
def steps(monkeypatch):
    """Names of the steps that a run does, in order; the steps themselves are done."""
    done = []
    for module, name in STEPS:
        real = getattr(module, name)

        def step(*words, name=name, real=real, **options):
            done.append(name)
            return real(*words, **options)

        monkeypatch.setattr(module, name, step)
    return done


@pytest.fixture
def emissions(monkeypatch):
    """Names of the projects that a run would emit; the emission itself is refused."""
    wanted = []

    def refuse(model, options, out, force):
        wanted.append(out.name)
        raise ModelError("no emission in this test")

    monkeypatch.setattr(table_steps, "emit", refuse)
    return wanted


# Rows --------------------------------------------------------------------------------------------


def test_a_row_has_every_figure_with_its_stage_and_no_mismatch(finished):
    _, table = finished
    keys = set(
        [
            "model",
            "n",
            "bits",
            "accuracy",
            "accuracy_error",
            "auc",
            "latency_cycles",
            "ii",
            "clock_ns",
            "lut",
            "lut_stage",
            "ff",
            "dsp",
            "bram",
            "mismatches",
            "vectors",
            "features",
            "family",
            "latency_ns",
            "latency_stage",
            "emit_seconds",
            "published",
        ]
    )
    assert set(table) == {"command", "machine", "budget", "estimator", "published_source", "rows"}
    for row in table["rows"]:
        assert keys <= set(row)
        assert (row["mismatches"], row["vectors"], row["failures"]) == (0, 60, [])
        assert row["projects"]["rtl"]["mismatches"] == {"golden": 0, "plain": 0, "keras": 0, "rtl": 0}
        assert row["lut"] > 0 and row["ff"] > 0 and row["dsp"] == 0 and row["ii"] == 1 and row["emit_seconds"] > 0
        stages = [row[f"{name}_stage"] for name in ("latency_cycles", "ii", "lut", "ff", "dsp", "bram")]
        assert stages == ["simulated"] * 2 + ["synthesised"] * 4
        assert row["latency_ns"] == 5 * row["latency_cycles"] and row["latency_stage"] == "estimated: stated clock"
        assert {"latency_cycles", "ii", "latency_ns", "lut", "lut_estimate"} <= set(row["provenance"])


def test_a_float_model_has_no_row_and_its_accuracy_stands_beside_its_twin(finished):
    _, table = finished
    assert [row["model"] for row in table["rows"]] == [MLP, DEEP_SETS]  # by family, not as given
    assert row_of(table, DEEP_SETS)["accuracy_float"] == 0.25 and row_of(table, DEEP_SETS)["accuracy"] == 0.2
    assert row_of(table, MLP)["accuracy_float"] is None


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in (DEEP_SETS, MLP)])
def test_both_targets_are_summed_and_the_finished_one_is_kept(zoo, projects, steps, name):
    plan = FirmwarePlan(to=("hls", "rtl"), projects=projects)
    table = scaling.tabulate([zoo / name], plan, "", lambda text: None, lambda table: None)
    (row,) = table["rows"]
    assert steps == [name for _, name in STEPS]  # of the HLS project alone
    assert {kind: set(made["mismatches"]) for kind, made in row["projects"].items()} == {
        "hls": {"golden", "plain", "keras", "csim", "csim_layers", "csim_sanitised"},
        "rtl": {"golden", "plain", "keras", "rtl"},
    }
    assert (row["mismatches"], row["vectors"], row["failures"]) == (0, 60, [])


def test_without_an_rtl_project_the_figures_say_so(zoo, tmp_path, emissions):
    row = row_of(table_of(zoo, tmp_path, to=("hls",)), DEEP_SETS)
    assert row["lut"] is None and row["lut_stage"] == "not measured: no RTL project was asked for"
    assert row["failures"] == ["hls: emit: no emission in this test"] and row["mismatches"] is None


# A run that goes on ------------------------------------------------------------------------------


def test_a_second_start_does_nothing_again_and_gives_the_same_table(zoo, projects, steps, finished):
    assert table_of(zoo, projects) == finished[1]
    assert steps == []


@pytest.mark.slow
def test_a_run_interrupted_in_its_second_row_leaves_the_first_and_goes_on(zoo, tmp_path, finished, monkeypatch):
    written = []
    real = table_steps.verify

    def killed(project, **options):
        if DEEP_SETS in project.name:
            raise KeyboardInterrupt
        return real(project, **options)

    with monkeypatch.context() as patch:
        patch.setattr(table_steps, "verify", killed)
        with pytest.raises(KeyboardInterrupt):
            table_of(zoo, tmp_path, write=lambda table: written.append(json.loads(json.dumps(table))))
    assert [[row["model"] for row in table["rows"]] for table in written] == [[MLP]]
    done = []
    for module, name in STEPS:
        step = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, n=name, s=step, **o: (done.append(n), s(*a, **o))[1])
    resumed = table_of(zoo, tmp_path)
    assert done == ["verify", "gather"]  # of the second row, whose project stood
    assert without_seconds(resumed) == without_seconds(finished[1])


@pytest.mark.parametrize(
    ("change", "redone"),
    [
        ({"clock_ns": 4.0}, [f"{MLP}_rtl", f"{DEEP_SETS}_rtl"]),
        ({"part": "xcvu9p-flga2104-2-e"}, [f"{MLP}_rtl", f"{DEEP_SETS}_rtl"]),
        ({}, []),
    ],
)
def test_other_options_redo_every_row(zoo, projects, emissions, change, redone):
    table_of(zoo, projects, **change)
    assert emissions == redone


def test_a_retrained_or_rescored_model_redoes_its_row_alone(zoo, projects, emissions, tmp_path):
    from scaling_models import DEEP_SETS as NET
    from scaling_models import edit_card, save, trained

    copy = Path(shutil.copytree(zoo, tmp_path / "zoo"))
    edit_card(copy / MLP, lambda card: card["metrics"].update(accuracy=0.3))
    table_of(copy, projects)
    assert emissions == [f"{MLP}_rtl"]
    emissions.clear()
    save(trained("jet_deepsets", NET, seed=2), copy / DEEP_SETS)
    table_of(copy, projects)
    assert emissions == [f"{MLP}_rtl", f"{DEEP_SETS}_rtl"]


@pytest.mark.parametrize("name", ["graph.json", "edgephys.json", "firmware/src/edgephys_top.v", "model/card.json"])
def test_a_damaged_project_is_emitted_again(zoo, projects, emissions, name):
    path = projects / f"{DEEP_SETS}_rtl" / name
    path.write_text(path.read_text() + " damaged")
    table_of(zoo, projects)
    assert emissions == [f"{DEEP_SETS}_rtl"]


def test_a_project_of_an_older_emitter_is_emitted_again(zoo, projects, emissions, monkeypatch):
    monkeypatch.setattr(RtlTarget, "revision", RtlTarget.revision + 1)
    table_of(zoo, projects)
    assert emissions == [f"{MLP}_rtl", f"{DEEP_SETS}_rtl"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "text"), [("verify", "{"), ("verify", None), ("report", "[]"), ("report", None)])
def test_a_damaged_or_missing_result_is_made_again(zoo, projects, steps, finished, name, text):
    path = projects / f"{DEEP_SETS}_rtl" / "results" / f"{name}.json"
    path.unlink() if text is None else path.write_text(text)
    assert table_of(zoo, projects) == finished[1]
    assert steps == [{"verify": "verify", "report": "gather"}[name]]


# Rows that fail ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_beyond_the_budget_a_row_is_an_estimate_with_a_measured_error(zoo, projects, tmp_path, monkeypatch, steps, run):
    (projects / f"{DEEP_SETS}_rtl" / "results" / "report.json").unlink()
    monkeypatch.setenv("EDGEPHYS_CACHE", str(tmp_path / "cache"))
    words = ["scaling", *models(zoo), "--to", "rtl", "--projects", projects, "--out", tmp_path / "t"]
    ran = run(*words, "--synth-seconds", 0.05, "--json")
    assert ran.status == 0  # an estimate is what was asked for
    row, other = (row_of(ran.json, name) for name in (DEEP_SETS, MLP))
    assert row["lut"] == row["lut_estimate"] and row["lut_stage"] == "estimated" and row["mismatches"] == 0
    assert row["ff"] is None and "was stopped after 0.05 s" in row["ff_stage"]
    ratio = other["lut"] / other["lut_estimate"]
    assert ran.json["estimator"]["ratio_median"] == pytest.approx(ratio) and ran.json["estimator"]["rows"] == 1
    assert row["lut_calibrated"] == round(row["lut_estimate"] * ratio)
    told = (tmp_path / "t.md").read_text()
    assert f"estimated; calibrated {row['lut_calibrated']:,}" in told and "was stopped after 0.05 s" in told
    assert row["failures"] == [] and "## Rows with failures" not in told
    assert steps == ["gather"]
    again = table_of(zoo, projects, synth_seconds=0.05)
    assert again["rows"] == ran.json["rows"] and steps == ["gather"]  # the same budget is not spent twice
    table_of(zoo, projects, synth_seconds=0.06)
    assert steps == ["gather", "gather"]


def test_a_missing_tool_is_said_in_its_row_and_the_others_go_on(zoo, projects, monkeypatch, tmp_path):
    real = tools.find

    def find(name):
        if name == "yosys":
            raise ToolError("yosys is missing: pip install pyosys")
        return real(name)

    (projects / f"{DEEP_SETS}_rtl" / "results" / "report.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(tools, "find", find)
        table = table_of(zoo, projects)
    row = row_of(table, DEEP_SETS)
    assert row["failures"] == ["rtl: LUT estimated: yosys is missing: pip install pyosys"]
    assert row["lut_stage"] == "estimated" and row_of(table, MLP)["failures"] == []
    with pytest.raises(ToolError, match=rf"1 of 2 rows are not whole: {DEEP_SETS}: rtl: LUT estimated: yosys is miss"):
        scaling.require(table)
    assert row_of(table_of(zoo, projects), DEEP_SETS)["failures"] == []  # the tool is back


def test_a_simulation_that_is_killed_leaves_no_sum_and_the_synthesis_stands(zoo, projects, monkeypatch):
    def killed(project, **options):
        raise ToolError("verilator was killed by SIGKILL")

    (projects / f"{DEEP_SETS}_rtl" / "results" / "verify.json").unlink()
    monkeypatch.setattr(table_steps, "verify", killed)
    row = row_of(table_of(zoo, projects), DEEP_SETS)
    assert row["failures"] == ["rtl: verify: verilator was killed by SIGKILL"]
    assert row["mismatches"] is None and row["latency_cycles"] is None and row["lut_stage"] == "synthesised"
    assert row["latency_stage"].startswith("not measured: not verified as it stands")


@pytest.mark.slow
def test_a_mismatch_is_loud(zoo, projects, monkeypatch, run, tmp_path):
    def differs(project, **options):
        first = Mismatch("phi_1", 7, (0, 0), 3, 4)
        facts = {"tool": "verilator", "version": "5", "latency_cycles": 4, "ii": 1}
        targets = {"golden": Comparison(60, 0), "keras": Comparison(60, 0), "rtl": Comparison(60, 3, first, facts)}
        found = Verified(project.name, 60, 300, targets)
        write_result(project, "verify", found.to_record(), project.state())
        return found

    (projects / f"{DEEP_SETS}_rtl" / "results" / "verify.json").unlink()
    monkeypatch.setattr(table_steps, "verify", differs)
    ran = run("scaling", *models(zoo), "--to", "rtl", "--projects", projects, "--out", tmp_path / "t", "--json")
    assert ran.status == 1
    assert f"{DEEP_SETS}: rtl: verification failed: 3 outputs differ" in ran.err and "layer 'phi_1' first" in ran.err
    row = row_of(ran.json, DEEP_SETS)
    assert row["mismatches"] == 3 and row["latency_cycles"] is None
    assert "**3 DIFFER**" in (tmp_path / "t.md").read_text()
    with pytest.raises(MismatchError, match="1 of 2 rows are not whole"):
        scaling.require(ran.json)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([Path(__file__).parent], 1, r"expected a model's folder with card\.json"),
        (["DEEP_SETS", "DEEP_SETS"], 1, rf"{DEEP_SETS} is there twice"),
        (["FLOAT"], 1, "expected a quantised model, found float ones only"),
        (["DEEP_SETS", "--to", "vhdl"], 2, "--to must name hls and rtl, each once at most, not 'vhdl'"),
        (["DEEP_SETS", "--to", "rtl,rtl"], 2, "each once at most"),
        (["DEEP_SETS", "--to", ""], 2, "--to must name hls and rtl"),
        (["DEEP_SETS", "--synth-seconds", "0"], 2, "--synth-seconds must be over 0, not 0"),
        (["DEEP_SETS", "--memory-gb", "nan"], 2, "Invalid value for '--memory-gb'"),
        (["DEEP_SETS", "--clock-ns", "0"], 2, "clock_ns must be 0.1..1000"),
        (["DEEP_SETS", "--part", "a part"], 2, "part"),
        ([], 2, "MODEL"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_anything_is_made(zoo, run, tmp_path, words, status, message):
    folders = {"DEEP_SETS": zoo / DEEP_SETS, "FLOAT": zoo / FLOAT}
    given = [folders.get(word, word) if isinstance(word, str) else word for word in words]
    ran = run("scaling", *given, "--projects", tmp_path / "p", "--out", tmp_path / "t")
    assert ran.status == status and message.replace("\\", "") in ran.err and len(ran.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_card_without_a_network_and_a_folder_that_is_not_ours_are_refused(zoo, run, tmp_path):
    from scaling_models import edit_card

    copy = Path(shutil.copytree(zoo / DEEP_SETS, tmp_path / "model"))
    edit_card(copy, lambda card: card["recipe"].pop("script"))
    ran = run("scaling", copy, "--projects", tmp_path / "p", "--out", tmp_path / "t")
    assert (
        ran.status == 1
        and "its card must state script, bits, and constituents and features, or frames and grid" in ran.err
    )
    theirs = tmp_path / "p" / f"{DEEP_SETS}_hls"
    theirs.mkdir(parents=True)
    (theirs / "thesis.tex").write_text("dear reader")
    ran = run("scaling", zoo / DEEP_SETS, "--projects", tmp_path / "p", "--out", tmp_path / "t")
    assert ran.status == 2 and "is not a project of ours" in ran.err
    assert (theirs / "thesis.tex").read_text() == "dear reader"


# Page, figure, terminal --------------------------------------------------------------------------


def test_page_figure_and_table_are_written_and_mention_every_row(finished, tmp_path):
    _, table = finished
    write(scaling.table(table), tmp_path / "t")
    assert json.loads((tmp_path / "t.json").read_text()) == json.loads(json.dumps(table))
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    told = (tmp_path / "t.md").read_text()
    for row in table["rows"]:
        assert f"| {row['model']} |" in told and f"{row['lut']:,}" in told
    for provenance in {told for row in table["rows"] for told in row["provenance"].values() if "against" not in told}:
        assert provenance in told
    assert "No row has the network, the input and the width of a published one" in told


# A real kill -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_goes_on_and_gives_the_table_of_one_that_was_not(zoo, tmp_path, finished, number):
    words = [sys.executable, "-m", "edgephys.cli", "scaling", *models(zoo), "--to", "rtl"]
    words += ["--projects", tmp_path / "p", "--out", tmp_path / "t"]
    environment = {**os.environ, "EDGEPHYS_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for line in process.stderr:
        if f"{DEEP_SETS}_rtl: " in line and "RTL simulation" in line:
            break
    else:
        pytest.fail("no line announced the RTL simulation of the second network")
    time.sleep(0.5)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 1)
    assert number == signal.SIGKILL or running_with(tmp_path / "cache") == []
    assert [row["model"] for row in json.loads((tmp_path / "t.json").read_text())["rows"]] == [MLP]
    before = read(tmp_path / "p" / f"{MLP}_rtl").folder.stat().st_mtime_ns
    done = subprocess.run([*words, "--json"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "emit to" not in done.stderr and f"{MLP}_rtl: " not in done.stderr
    assert read(tmp_path / "p" / f"{MLP}_rtl").folder.stat().st_mtime_ns == before
    ours, theirs = without_seconds(json.loads(done.stdout)), without_seconds(finished[1])
    assert ours["rows"] == theirs["rows"] and ours["estimator"] == theirs["estimator"]
