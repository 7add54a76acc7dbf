"""The command line: contracts, exit codes, bad input, and results that survive a failure."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from edgephys import cli
from edgephys.targets.rtl import emit as rtl

SCRIPT = Path(__file__).parent.parent / "models" / "jet_deepsets.py"
QUICK = ["--set", "constituents=4", "--set", "phi=4", "--set", "rho=4", "--set", "epochs=2", "--set", "bits=4"]


def test_version_is_printed_without_loading_heavy_libraries():
    code = "import sys, edgephys.cli; print([m for m in ('tensorflow', 'keras', 'numpy', 'h5py') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version_and_help_end_with_0_and_help_teaches_by_example(run):
    assert run("--version").out.startswith("edgephys ")
    shown = run("--help")
    assert shown.status == 0 and "edgephys train models/jet_deepsets.py" in shown.out
    for command in ("train", "explain", "emit", "verify", "report", "compare", "street", "doctor"):
        assert "Example: edgephys" in run(command, "--help").out


def test_commands_stand_in_the_order_of_the_work_and_a_former_name_is_not_listed(run):
    text = run("--help").out
    commands = text[text.index("Models:") :]
    order = [commands.index(f" {name} ") for name in ("init", "data", *list(cli.all_commands())[1:])]
    assert order == sorted(order)
    assert not any(f" {name} " in commands for name in cli.RENAMED)


@pytest.mark.slow
def test_train_keeps_the_contract_and_one_seed_gives_one_model_and_one_firmware(run, few_jets, tmp_path):
    emitted = []
    for name in ("a", "b"):
        made = run("train", SCRIPT, "--data", few_jets, "--out", tmp_path / name, *QUICK, "--json")
        assert made.status == 0, made.err
        record = made.json
        assert record["model"] == str(tmp_path / name)
        assert record["parameters"] > 0 and record["seconds"] > 0
        assert 0 < record["metrics"]["accuracy"] < 1 and set(record["metrics"]["auc"]) == set("gqwzt")
        for kind in ("hls", "rtl"):
            out = tmp_path / f"{name}_{kind}"
            assert run("emit", tmp_path / name, "--to", kind, "--out", out, "--json").json["project"] == str(out)
        emitted.append(tmp_path / name)
    for kind in ("hls", "rtl"):
        first, second = (tmp_path / f"{path.name}_{kind}" / "firmware" for path in emitted)
        files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
        assert files == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
        assert [f for f in files if (first / f).read_bytes() != (second / f).read_bytes()] == []


@pytest.mark.slow
def test_the_training_script_runs_by_itself(few_jets, tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--data", few_jets, "--out", tmp_path / "m", *QUICK],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout and (tmp_path / "m" / "card.json").is_file()


@pytest.mark.parametrize(
    ("settings", "status", "message"),
    [
        (["bits=40"], 2, r"bits must be 2\.\.16 or 'float', not 40"),
        (["bit=8"], 2, "expected KEY=VALUE with KEY one of activation_bits, batch, batch_norm, bits"),
        (["epochs"], 2, "expected KEY=VALUE"),
        (["epochs=many"], 2, "--set epochs=many: expected int, found 'many'"),
        (["phi=a,b"], 2, "--set phi=a,b: expected a list of numbers such as 32,32,32, found 'a,b'"),
        (["epochs=0"], 2, "epochs must be 1 and over without --start, whose weights 0 epochs keep as they are"),
        (["epochs=-1"], 2, "epochs must be 0 and over, not -1"),
        (["validation=1"], 2, "validation must be above 0"),
        (["constituents=0"], 2, r"constituents must be 1\.\.150, not 0"),
        (["phi=0"], 2, "phi must hold widths of 1 and over"),
        (["bits=float", "activation_bits=8"], 2, "activation_bits must be left out of a float network"),
        (["constituents=64"], 1, "constituents"),
        (["seed=-1"], 2, r"seed must be 0\.\.4294967295, not -1"),
        (["learning_rate=nan"], 2, "learning_rate must be above 0 and at most 1, not nan"),
        (["plateau_factor=2"], 2, "plateau_factor must be between 0 and 1"),
        (["schedule=step"], 2, "schedule must be one of plateau, cosine, not step"),
    ],
)
def test_a_bad_setting_is_refused_on_one_line(run, few_jets, tmp_path, settings, status, message):
    words = [word for setting in settings for word in ("--set", setting)]
    ended = run("train", SCRIPT, "--data", few_jets, "--out", tmp_path / "m", *words)
    assert ended.status == status
    line = [text for text in ended.err.splitlines() if text.startswith("edgephys: ")]
    assert len(line) == 1
    import re

    assert re.search(message, line[0]), line[0]
    assert not (tmp_path / "m").exists()


def test_a_script_without_a_recipe_is_refused(run, few_jets, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("RECIPE = 3\n")
    assert (
        "expected RECIPE = Recipe(...) or one function 'model' that returns a Keras model, found int and no function"
        in run("train", script, "--data", few_jets).err
    )
    assert "no such training script" in run("train", tmp_path / "none.py", "--data", few_jets).err


def test_a_failure_with_json_is_one_document_on_stdout(run, tmp_path):
    ended = run("explain", tmp_path / "nothing", "--json")
    assert ended.status == 1 and "expected a model's folder" in ended.json["error"]


@pytest.mark.parametrize(
    "words",
    [["emit", "m"], ["emit", "m", "--to", "rtl", "--clock-ns", "x"], ["verify"], ["frob"], ["verify", "p", "--frob"]],
)
def test_a_usage_error_is_one_line_and_with_json_one_document(run, words):
    ended = run(*words, "--json")
    assert ended.status == 2 and ended.json["exit"] == 2 and "--help" in ended.json["error"]
    assert len(ended.err.strip().splitlines()) == 1


def test_no_words_at_all_show_the_help(run):
    assert "All steps on the jets" in run().out
    assert "jets" in run("data").out


def test_an_unforeseen_failure_is_one_line_too(run, model, monkeypatch):
    from edgephys import project

    def breaks(*_):
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr(project, "emit", breaks)
    ended = run("emit", model, "--to", "rtl", "--json")
    assert ended.status == 1 and "unforeseen: RuntimeError: what nobody thought of" in ended.json["error"]
    assert "Traceback" not in ended.err
    monkeypatch.setenv("EDGEPHYS_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["edgephys", "emit", str(model), "--to", "rtl"])
    with pytest.raises(RuntimeError):
        cli.main()


def test_a_script_that_breaks_is_the_scripts_fault(run, few_jets, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import no_such_module\n")
    ended = run("train", script, "--data", few_jets)
    assert ended.status == 2 and "ModuleNotFoundError when it was read" in " ".join(ended.err.split())


@pytest.mark.parametrize("text", ["[]", "null", "{}", "{", '{"name": "x"}'])
def test_a_damaged_card_is_refused(run, model, tmp_path, text):
    broken = Path(shutil.copytree(model, tmp_path / "broken"))
    (broken / "card.json").write_text(text)
    for words in (["explain", broken], ["cards", broken, "--out", tmp_path / "t"]):
        assert "expected a model card in JSON" in " ".join(run(*words).err.split())


@pytest.mark.slow
def test_a_project_in_a_path_with_spaces_verifies(run, project, tmp_path):
    spaced = tmp_path / "a folder"
    spaced.mkdir()
    moved = project("rtl").rename(spaced / "a project")
    assert run("verify", moved).status == 0


def test_score_measures_a_model_on_other_jets(run, model, few_jets):
    measured = run("score", model, "--data", few_jets, "--json").json["metrics"]
    assert measured["jets"] == 2000 and 0 < measured["accuracy"] < 1 and set(measured["auc"]) == set("gqwzt")
    assert run("score", model, "--data", few_jets).out.startswith(f"{model}: accuracy ")


def test_the_test_file_must_not_be_the_training_file(run, few_jets, tmp_path):
    ended = run("train", SCRIPT, "--data", few_jets, "--test-data", few_jets, "--out", tmp_path / "m", *QUICK)
    assert ended.status == 1 and "the test file must not be the training file" in " ".join(ended.err.split())


def test_explain_gives_every_edge_its_width_and_reason(run, model):
    edges = run("explain", model, "--json").json["edges"]
    assert {edge["layer"] for edge in edges} == {"constituents", "phi_1", "phi_2", "pool", "rho_1", "logits"}
    assert all(edge["bits"] >= 1 and edge["reason"] for edge in edges)
    assert "exact sum of 4 elements" in run("explain", model, "--all").out


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--to", "asic"], 2, "--to must be one of hls, rtl, c, onnx, qonnx, not asic"),
        (["--to", "rtl", "--clock-ns", "0"], 2, "clock_ns must be"),
        (["--to", "hls", "--clock-ns", "0"], 2, "clock_ns must be"),
        (["--to", "rtl", "--part", "z80"], 2, "part 'z80'"),
        (["--to", "hls", "--part", "z80"], 2, "part 'z80'"),
        (["--to", "hls", "--backend", "Maple"], 2, "backend must be"),
        (["--to", "rtl", "--language", "ada"], 2, "language must be verilog or vhdl, not 'ada'"),
        (["--to", "hls", "--language", "vhdl"], 2, "--language goes with --to rtl"),
        (["--to", "rtl", "--backend", "Vitis"], 2, "--backend goes with --to hls"),
        (["--to", "rtl", "--vectors", "0"], 2, r"vectors must be 1..200"),
    ],
)
def test_a_bad_option_of_emit_is_refused_before_anything_is_written(run, model, tmp_path, words, status, message):
    ended = run("emit", model, "--out", tmp_path / "p", *words)
    assert ended.status == status and message in " ".join(ended.err.split())
    assert not (tmp_path / "p").exists()


def test_a_folder_that_is_not_ours_is_refused_without_force(run, model, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    ended = run("emit", model, "--to", "rtl", "--out", mine)
    assert ended.status == 2 and "exists and is not a project of ours" in ended.err
    assert (mine / "thesis.tex").read_text() == "years of work"
    assert run("emit", model, "--to", "rtl", "--out", mine, "--force").status == 0
    assert run("emit", model, "--to", "rtl", "--out", mine).status == 0  # ours now: replaced without force


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device"), MemoryError])
def test_a_command_that_fails_half_way_leaves_the_former_result_whole(run, model, tmp_path, monkeypatch, failure):
    out = tmp_path / "p"
    assert run("emit", model, "--to", "rtl", "--out", out).status == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    real = rtl.emit

    def fails(graph, folder, options):
        real(graph, folder, options)
        raise failure

    monkeypatch.setattr(rtl, "emit", fails)
    ended = run("emit", model, "--to", "rtl", "--out", out)
    assert ended.status == 1 and "Traceback" not in ended.err
    assert failure is MemoryError or "no file is left half-written" in ended.err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


@pytest.mark.slow
def test_a_killed_emission_leaves_the_former_result_whole(model, run, tmp_path):
    out = tmp_path / "p"
    assert run("emit", model, "--to", "rtl", "--out", out).status == 0
    command = [sys.executable, "-m", "edgephys.cli", "emit", model, "--to", "rtl", "--out", out]
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "emit" in line:
            break
    time.sleep(0.2)
    process.kill()
    process.wait()
    process.stderr.close()
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_cards_tabulates_models_over_seeds_and_names_each_once(run, model, tmp_path):
    other = Path(shutil.copytree(model, tmp_path / "seed2"))
    card = json.loads((other / "card.json").read_text())
    (other / "card.json").write_text(json.dumps(card | {"seed": 2, "metrics": card["metrics"] | {"accuracy": 0.3}}))
    row = run("cards", model, other, "--out", tmp_path / "t", "--json").json["rows"][0]
    assert row["seeds"] == [1, 2] and row["accuracies"] == [0.2, 0.3]
    assert row["accuracy"] == pytest.approx(0.25) and row["accuracy_spread"] == pytest.approx(0.1 / np.sqrt(2))
    assert "| small_n4_4bit | 1 2 |" in (tmp_path / "t.md").read_text()
    assert "is there twice; name each once" in run("cards", model, model, "--out", tmp_path / "t").err
    assert "expected a model's folder with card.json" in " ".join(run("cards", tmp_path).err.split())


def test_doctor_names_what_is_missing_and_what_to_install(run, monkeypatch):
    everything = run("doctor", "--json").json["tools"]
    assert all(tool["version"] for tool in everything if tool["needed"])
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    ended = run("doctor")
    assert ended.status == 1 and "Debian: g++" in ended.out and "Debian: perl" in ended.out


def test_a_command_without_its_compiler_says_what_to_install(run, projects, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setenv("EDGEPHYS_CACHE", str(projects / "empty_cache"))
    for kind, tool in (("hls", "g++"), ("rtl", "perl")):
        ended = run("verify", projects / kind)
        assert ended.status == 1 and f"{tool} is missing: install" in " ".join(ended.err.split())


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "nan", "no_constituents"])
def test_bad_jets_are_refused_before_training_and_nothing_is_written(run, few_jets, tmp_path, damage):
    bad = tmp_path / "bad.h5"
    shutil.copyfile(few_jets, bad)
    if damage in ("empty", "text", "truncated"):
        content = {"empty": b"", "text": b"pt,eta,phi\n", "truncated": few_jets.read_bytes()[:50_000]}[damage]
        bad.write_bytes(content)
    else:
        with h5py.File(bad, "r+") as file:
            file["jetConstituentList"][7] = np.nan if damage == "nan" else 0.0
    ended = run("train", SCRIPT, "--data", bad, "--out", tmp_path / "m", *QUICK)
    lines = [line for line in ended.err.splitlines() if line.startswith("edgephys: ")]
    assert ended.status == 1 and len(lines) == 1 and "bad.h5" in lines[0]
    assert not (tmp_path / "m").exists()
