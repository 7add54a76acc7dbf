"""The command line: contracts, exit codes, bad input, and results that survive a failure."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from small_model import SAMPLE, save_small

from edgephys import cli
from edgephys.firmware import rtl

SCRIPT = Path(__file__).parent.parent / "models" / "jet_deepsets.py"
QUICK = ["--set", "constituents=4", "--set", "phi=4", "--set", "rho=4", "--set", "epochs=2", "--set", "bits=4"]


class Ran:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process: status, stdout, stderr."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["edgephys", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Ran(ended.value.code or 0, captured.out, captured.err)

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_small(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def few_jets(tmp_path_factory):
    path = tmp_path_factory.mktemp("jets") / "few.h5"
    with h5py.File(SAMPLE) as source, h5py.File(path, "w") as out:
        for name in source:
            whole = source[name]
            out[name] = whole[:2000] if whole.ndim > 1 else whole[:]
    return path


@pytest.fixture(scope="module")
def projects(model, tmp_path_factory):
    """The small model emitted to both targets."""
    top = tmp_path_factory.mktemp("projects")
    for kind in ("hls", "rtl"):
        done = subprocess.run(
            [sys.executable, "-m", "edgephys.cli", "emit", model, "--to", kind, "--out", top / kind],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return top


@pytest.fixture
def project(projects, tmp_path):
    """A copy of an emitted project, to be broken."""

    def copy(kind):
        return Path(shutil.copytree(projects / kind, tmp_path / kind))

    return copy


def test_version_is_printed_without_loading_heavy_libraries():
    code = "import sys, edgephys.cli; print([m for m in ('tensorflow', 'keras', 'numpy', 'h5py') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version_and_help_end_with_0_and_help_teaches_by_example(run):
    assert run("--version").out.startswith("edgephys ")
    shown = run("--help")
    assert shown.status == 0 and "edgephys train models/jet_deepsets.py" in shown.out
    for command in ("train", "explain", "emit", "verify", "report", "street", "doctor"):
        assert "Example: edgephys" in run(command, "--help").out


def test_commands_stand_in_the_order_of_the_street(run):
    text = run("--help").out
    commands = text[text.index("Commands") :]
    order = [commands.index(f" {name} ") for name in cli.STREET]
    assert order == sorted(order)


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
        (["bit=8"], 2, "expected KEY=VALUE with KEY one of activation_bits, batch, bits"),
        (["epochs"], 2, "expected KEY=VALUE"),
        (["epochs=many"], 2, "--set epochs=many: expected int, found 'many'"),
        (["phi=a,b"], 2, "--set phi=a,b: expected a list of numbers such as 32,32,32, found 'a,b'"),
        (["epochs=0"], 2, "epochs and batch must be 1 and over, not 0"),
        (["validation=1"], 2, "validation must be above 0"),
        (["constituents=0"], 2, r"constituents must be 1\.\.150, not 0"),
        (["phi=0"], 2, "phi and rho must hold widths of 1 and over"),
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
    assert "expected RECIPE = Recipe(...), found int" in run("train", script, "--data", few_jets).err
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
    assert "A walk down the street" in run().out
    assert "jets" in run("data").out


def test_an_unforeseen_failure_is_one_line_too(run, model, monkeypatch):
    from edgephys.firmware import project as house

    def breaks(*_):
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr(house, "emit", breaks)
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


def test_a_project_in_a_path_with_spaces_verifies(run, project, tmp_path):
    spaced = tmp_path / "a folder"
    spaced.mkdir()
    moved = project("rtl").rename(spaced / "a project")
    assert run("verify", moved).status == 0


def test_the_test_file_must_not_be_the_training_file(run, few_jets, tmp_path):
    ended = run("train", SCRIPT, "--data", few_jets, "--test-data", few_jets, "--out", tmp_path / "m", *QUICK)
    assert ended.status == 1 and "the test file must not be the training file" in " ".join(ended.err.split())


def test_explain_gives_every_edge_its_width_and_reason(run, model):
    edges = run("explain", model, "--json").json["edges"]
    assert {edge["layer"] for edge in edges} == {"constituents", "phi_1", "phi_2", "pool", "rho_1", "logits"}
    assert all(edge["bits"] >= 1 and edge["reason"] for edge in edges)
    assert "exact sum of 4 elements" in run("explain", model).out


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--to", "asic"], 2, "--to must be hls or rtl, not asic"),
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
    assert failure is MemoryError or "what stood before is unchanged" in ended.err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_a_killed_emission_leaves_the_former_result_whole(model, tmp_path):
    out = tmp_path / "p"
    command = [sys.executable, "-m", "edgephys.cli", "emit", model, "--to", "rtl", "--out", out]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
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


@pytest.mark.parametrize("kind", ["hls", "rtl"])
def test_verify_finds_every_target_equal(run, projects, kind):
    ended = run("verify", projects / kind, "--json")
    assert ended.status == 0, ended.err
    record = ended.json
    simulated = {"hls": "csim", "rtl": "rtl"}[kind]
    assert (record["vectors"], record["outputs"], record["mismatches"]) == (200, 1000, 0)
    assert set(record["targets"]) == {"golden", "keras", simulated}
    assert all(target == target | {"vectors": 200, "mismatches": 0} for target in record["targets"].values())
    if kind == "rtl":
        assert record["targets"]["rtl"]["ii"] == 1 and record["targets"]["rtl"]["latency_cycles"] >= 1


def test_verify_takes_raw_jets_through_the_models_own_preprocessing(run, projects, few_jets):
    record = run("verify", projects / "rtl", "--data", few_jets, "--limit", 300, "--json").json
    assert (record["vectors"], record["mismatches"]) == (300, 0)
    assert run("verify", projects / "rtl", "--limit", 3).status == 2


def test_a_flipped_weight_in_the_hls_sources_is_named_by_its_layer(run, project):
    folder = project("hls")
    headers = sorted((folder / "firmware").rglob("weights/w*.h"), key=lambda path: int(path.stem[1:]))
    header = headers[1]  # the second dense layer: phi_2
    text = header.read_text()
    start = text.rindex("{") + 1
    first = text[start:].split(",")[0]
    header.write_text(text[:start] + f"{-0.5 if float(first) != -0.5 else 0.25}" + text[start + len(first) :])
    ended = run("verify", folder, "--json")
    assert ended.status == 1
    assert ended.json["targets"]["csim"]["mismatches"] > 0
    assert ended.json["targets"]["csim"]["first"]["layer"] == "phi_2"
    assert ended.json["targets"]["keras"]["mismatches"] == 0
    assert "csim: layer 'phi_2' differs first: vector" in " ".join(ended.err.split())


def test_a_corrupted_expectation_fails_with_its_vector_and_both_integers(run, project):
    folder = project("rtl")
    with np.load(folder / "vectors.npz") as arrays:
        inputs, labels, expected = (arrays[name].copy() for name in ("inputs", "labels", "expected"))
    expected[17, 3] += 1
    np.savez_compressed(folder / "vectors.npz", inputs=inputs, labels=labels, expected=expected)
    ended = run("verify", folder, "--json")
    assert ended.status == 1
    targets = ended.json["targets"]
    assert [targets[name]["mismatches"] for name in ("golden", "keras", "rtl")] == [1, 0, 0]
    assert targets["golden"]["first"] == {
        "layer": "logits",
        "vector": 17,
        "element": [3],
        "expected": int(expected[17, 3]),
        "received": int(expected[17, 3]) - 1,
    }
    assert "changed since its emission: vectors.npz" in " ".join(ended.err.split())


def test_a_change_that_no_vector_shows_fails_too_and_names_the_file(run, project):
    folder = project("rtl")
    source = next((folder / "firmware").rglob("*.v"))
    source.write_text(source.read_text() + "\n// touched\n")
    ended = run("verify", folder, "--json")
    assert ended.status == 1 and ended.json["mismatches"] == 0
    assert ended.json["changed"] == [str(source.relative_to(folder))]
    assert "no output differs on these vectors; changed since its emission: firmware/" in " ".join(ended.err.split())
    figures = {f["name"]: f for f in run("report", folder, "--no-synth", "--json").json["figures"]}
    assert figures["latency_cycles"]["value"] is None and "emit it again" in figures["latency_cycles"]["why"]


def test_a_file_that_a_vendors_tool_adds_is_no_change(run, project):
    folder = project("rtl")
    (folder / "firmware" / "vivado.log").write_text("it ran here")
    assert run("verify", folder).status == 0


def test_the_report_of_a_failed_verification_vouches_for_nothing(run, project):
    folder = project("rtl")
    with np.load(folder / "vectors.npz") as arrays:
        inputs, labels, expected = (arrays[name].copy() for name in ("inputs", "labels", "expected"))
    expected[3, 1] += 1
    np.savez_compressed(folder / "vectors.npz", inputs=inputs, labels=labels, expected=expected)
    stale = {f["name"]: f for f in run("report", folder, "--no-synth", "--json").json["figures"]}
    assert stale["mismatches"]["value"] is None and "not verified as it stands" in stale["mismatches"]["why"]
    assert run("verify", folder).status == 1
    found = {f["name"]: f for f in run("report", folder, "--no-synth", "--json").json["figures"]}
    assert found["mismatches"]["value"] == 1
    for name in ("latency_cycles", "ii"):
        assert found[name]["value"] is None and "verification failed: 1 outputs differ" in found[name]["why"]


@pytest.mark.parametrize(
    ("keep", "outputs", "message"),
    [(0, 0, "expected at least 1 vector, found 0"), (10, 9, "expected 10 outputs of shape (5,), found 9")],
)
def test_no_vectors_or_fewer_outputs_than_vectors_is_an_error(run, project, keep, outputs, message):
    folder = project("rtl")
    with np.load(folder / "vectors.npz") as arrays:
        kept = {"inputs": arrays["inputs"][:keep], "labels": arrays["labels"][:keep]}
        np.savez_compressed(folder / "vectors.npz", **kept, expected=arrays["expected"][:outputs])
    ended = run("verify", folder)
    assert ended.status == 1 and message in " ".join(ended.err.split())


def test_an_empty_or_cut_vector_file_is_an_error(run, project):
    folder = project("rtl")
    for content in (b"", (folder / "vectors.npz").read_bytes()[:200]):
        (folder / "vectors.npz").write_bytes(content)
        ended = run("verify", folder)
        assert ended.status == 1 and "expected vectors (inputs, labels, expected)" in " ".join(ended.err.split())


def test_a_folder_that_is_no_project_or_a_damaged_one_is_refused(run, project, tmp_path):
    assert "expected a project with edgephys.json" in run("verify", tmp_path / "none").err
    folder = project("rtl")
    text = (folder / "graph.json").read_text()
    (folder / "graph.json").write_text(text[: len(text) // 2])
    assert "manifest or graph is missing or damaged" in run("verify", folder).err
    graph = json.loads(text)
    node = next(node for node in graph["nodes"] if node["kind"] == "dense")
    node["fixed"][1:3] = [node["fixed"][1] - 3, node["fixed"][2] - 3]  # a width that overflows
    (folder / "graph.json").write_text(json.dumps(graph))
    assert "does not hold; lower the model again" in " ".join(run("verify", folder).err.split())


def test_report_gives_every_figure_a_provenance_and_says_what_was_not_measured(run, project):
    folder = project("rtl")
    shutil.rmtree(folder / "results", ignore_errors=True)  # what an earlier test may have found
    before = {f["name"]: f for f in run("report", folder, "--no-synth", "--json").json["figures"]}
    assert before["latency_cycles"]["value"] is None and "edgephys verify" in before["latency_cycles"]["why"]
    assert before["lut"]["value"] is None and "not asked for" in before["lut"]["why"]
    assert run("verify", folder).status == 0
    figures = run("report", folder, "--json").json["figures"]
    for figure in figures:
        assert all(figure[key] for key in ("name", "stage", "tool", "version", "target"))
        assert (figure["value"] is None) == ("why" in figure)
    found = {figure["name"]: figure for figure in figures}
    assert found["lut"]["value"] > 0 and found["lut"]["stage"] == "synthesised" and found["lut"]["tool"] == "yosys"
    assert found["latency_cycles"]["stage"] == "simulated" and found["ii"]["value"] == 1
    assert found["latency_ns"]["value"] == 5 * found["latency_cycles"]["value"]
    assert found["latency_ns"]["stage"] == "estimated"  # no routing has confirmed the clock
    assert found["input_bits"]["value"] == 4 * 3 * 12 and found["mismatches"]["value"] == 0
    assert "not measured: not asked for; add --place" in " ".join(run("report", folder).out.split())


def test_sources_changed_after_verify_leave_no_simulated_figure(run, project):
    folder = project("rtl")
    assert run("verify", folder).status == 0
    source = next((folder / "firmware").rglob("*.v"))
    source.write_text(source.read_text() + "\n// touched\n")
    found = {f["name"]: f for f in run("report", folder, "--no-synth", "--json").json["figures"]}
    assert found["latency_cycles"]["value"] is None and "not verified as it stands" in found["latency_cycles"]["why"]


def test_street_tabulates_one_row_a_model_with_both_targets(run, project, tmp_path):
    for kind in ("hls", "rtl"):
        assert run("verify", project(kind)).status == 0
    assert "expected a report" in run("street", tmp_path / "rtl", "--out", tmp_path / "t").err
    for kind in ("hls", "rtl"):
        assert run("report", tmp_path / kind).status == 0
    table = run("street", tmp_path / "hls", tmp_path / "rtl", "--out", tmp_path / "t", "--json").json
    assert set(table) == {"command", "machine", "rows"} and len(table["rows"]) == 1
    row = table["rows"][0]
    assert row["projects"] == {"hls": "hls", "rtl": "rtl"} and "yosys" in row["provenance"]["lut"]
    assert row["mismatches_csim"] == 0 and row["mismatches_rtl"] == 0 and row["lut_stage"] == "synthesised"
    assert json.loads((tmp_path / "t.json").read_text()) == table
    assert "small_n4_4bit" in (tmp_path / "t.md").read_text()
    assert "is there twice" in run("street", tmp_path / "rtl", tmp_path / "rtl", "--out", tmp_path / "t").err
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


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
