"""What a user meets on the command line: groups in the help, settings of a script, --quiet, time left, completion."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from edgephys import cli
from edgephys.cli import console
from edgephys.core.remaining import Remaining, TimedSteps, in_words
from edgephys.train.recipe import with_settings
from edgephys.train.script import script_recipe
from edgephys.train.settings import settings_of

ROOT = Path(__file__).parent.parent
JETS, OWN = ROOT / "models" / "jet_deepsets.py", ROOT / "examples" / "my_model.py"


# Groups -------------------------------------------------------------------------------------------


def test_help_lists_every_command_once_in_groups_of_the_order_of_work(run):
    text = run("--help").out
    titles = [f"\n{title}:\n" for title in cli.grouped_commands()]
    places = [text.index(title) for title in titles]
    assert places == sorted(places) and len(places) == len(set(titles)) >= 6
    listed = [line.split()[0] for line in text[places[0] :].splitlines() if line.startswith("  ")]
    assert listed == ["init", "data", *list(cli.all_commands())[1:]]


def test_emit_stands_behind_train_and_before_verify_and_report():
    names = list(cli.all_commands())
    order = [names.index(name) for name in ("train", "compress", "explain", "emit", "verify", "report", "compare")]
    assert order == sorted(order) and names[-1] == "doctor"


# Settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [JETS, OWN, ROOT / "models" / "wave_operator.py"], ids=lambda path: path.stem)
def test_every_setting_that_is_listed_can_be_set_to_its_default(script):
    recipe = script_recipe(script)
    settings = settings_of(recipe)
    words = [f"{setting.key}={setting.default}" for setting in settings if setting.default]
    changed = with_settings(recipe, words)
    assert changed.net == recipe.net and changed.rate() == recipe.rate() and changed.epochs == recipe.epochs
    assert len({setting.key for setting in settings}) == len(settings) > 12


def test_settings_state_types_choices_and_defaults():
    rows = {setting.key: setting for setting in settings_of(script_recipe(JETS))}
    assert (rows["bits"].kind, rows["bits"].default, rows["bits"].of) == ("int|none", "8", "network")
    assert (rows["phi"].kind, rows["phi"].default) == ("int,int,...", "32,32,32")
    assert rows["features"].kind == "word,word,...|all" and rows["batch_norm"].kind == "true|false"
    assert rows["schedule"].kind == "plateau|cosine" and rows["learning_rate"].default == "0.003"
    assert rows["order"].of == "data" and rows["seed"].of == "training" and "weight_integers" not in rows


def test_settings_of_a_function_are_its_arguments_and_those_of_training(run):
    record = run("settings", OWN, "--json").json
    rows = {row["key"]: row for row in record["settings"]}
    assert rows["width"] == {"key": "width", "of": "network", "kind": "int", "default": "16"}
    assert rows["epochs"]["default"] == "30" and "KEY" in run("settings", OWN).out


@pytest.mark.parametrize("words", [("train", "--help", OWN), ("train", OWN, "--help")])
def test_help_of_train_lists_the_settings_of_the_script_in_either_order(run, words):
    done = run(*words)
    assert done.status == 0 and "Example: edgephys train" in done.out
    assert f"Settings of {OWN} (--set KEY=VALUE): key, value, default" in done.out and "  width  " in done.out


def test_help_of_train_without_a_script_says_how_to_see_its_settings(run):
    assert "Settings of a script: edgephys train SCRIPT --help" in run("train", "--help").out


def test_help_of_train_with_a_script_that_is_missing_says_so(run, tmp_path):
    ended = run("train", tmp_path / "none.py", "--help")
    assert ended.status == 2 and "none.py: no such training script" in ended.err


def test_an_unknown_setting_names_the_command_that_lists_them(run, few_jets):
    ended = run("train", JETS, "--data", few_jets, "--set", "size=3")
    assert ended.status == 2 and "`edgephys settings SCRIPT` lists types and defaults" in " ".join(ended.err.split())


# --quiet ------------------------------------------------------------------------------------------


def commands():
    for name, command in get_command(cli.program()).commands.items():
        yield from getattr(command, "commands", {name: command}).items()


def test_every_command_takes_quiet():
    assert all(
        "--quiet" in [word for parameter in command.params for word in parameter.opts] for _, command in commands()
    )


def test_quiet_shows_results_and_failures_and_no_progress(run, model, tmp_path):
    done = run("explain", model, "--quiet")
    assert done.err == "" and "phi_1" in done.out
    assert "load Keras" in run("explain", model).err  # the next command is not quiet
    ended = run("explain", tmp_path / "none", "--quiet")
    assert ended.status == 1 and ended.err.startswith("edgephys: ")


def test_quiet_shows_no_bar_and_keeps_notes(capsys):
    console.begin()
    console.be_quiet()
    with console.bar("epochs", 2) as tick:
        tick(1)
        tick(2, note="loss 1")
    console.say("working")
    console.note("the data decide")
    console.begin()
    assert capsys.readouterr().err == "· note: the data decide\n"


# Time left ----------------------------------------------------------------------------------------


def ticking(times):
    clock = iter(times)
    return lambda: next(clock)


def test_the_time_left_is_that_of_the_parts_so_far_times_those_to_come():
    remaining = Remaining(ticking([0.0, 30.0, 400.0]))
    assert remaining.left(0, 4) == "" and remaining.left(4, 4) == ""
    assert remaining.left(1, 4) == ", about 90 s left"
    assert remaining.left(2, 4) == ", about 7 min left"


def test_parts_that_were_done_before_do_not_count_as_time():
    assert Remaining(ticking([0.0, 10.0]), first=5).left(6, 8) == ", about 20 s left"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (99, "99 s"), (100, "2 min"), (5900, "98 min"), (6000, "2 h"), (86400, "24 h")]
)
def test_times_are_said_with_one_or_two_digits(seconds, text):
    assert in_words(seconds) == text


def test_a_bar_without_a_terminal_and_the_epochs_of_a_stage_say_the_time_left(capsys):
    console.begin()
    with console.bar("epochs", 10) as tick:
        tick(1)
    console.stage_progress("1_prune")(1, 3, {"loss": 0.5})
    err = capsys.readouterr().err
    assert "epochs: 1/10, about 1 s left" in err and "1_prune: epoch 1/3, about 1 s left loss 0.5000" in err


def test_the_epochs_of_a_stage_are_shown_every_tenth(capsys):
    console.begin()
    tick = console.stage_progress("1_prune")
    for epoch in range(1, 51):
        tick(epoch, 50, {})
    assert [line.split()[3].rstrip(",") for line in capsys.readouterr().err.splitlines()] == [
        f"{i}/50" for i in range(5, 51, 5)
    ]


def test_a_second_verification_says_the_time_left_from_the_first(run, model, tmp_path):
    run("emit", model, "--to", "onnx", "--vectors", 20, "--out", tmp_path / "onnx")
    assert " left" not in run("verify", tmp_path / "onnx").err
    path = tmp_path / "onnx" / "results" / "verify.json"
    record = json.loads(path.read_text())
    steps = record["steps"]
    record["steps"] = [[step, 100.0] for step, _ in steps]
    path.write_text(json.dumps(record))
    lines = [line for line in run("verify", tmp_path / "onnx").err.splitlines() if " of " in line]
    assert lines[0].endswith(f", about {in_words(100 * len(steps))} left") and lines[-1].endswith(", about 2 min left")


def test_steps_say_the_time_of_an_earlier_run_that_was_longer_than_seconds():
    said = []
    steps = TimedSteps(said.append, 3, [["a", 4.0], ["b", 1.5]], ticking([0.0, 5.0, 6.0, 7.5]))
    for text in "abc":
        steps(text)
    assert said == ["1 of 3: a, about 6 s left", "2 of 3: b", "3 of 3: c"]
    assert steps.durations() == [("a", 5.0), ("b", 1.0), ("c", 1.5)]


@pytest.mark.parametrize(
    "earlier", [None, 5, "ab", [["a"]], [["a", "x"]], [["a", float("nan")]], [["a", -1]], {"a": 1}]
)
def test_a_record_of_other_steps_tells_no_time(earlier):
    said = []
    TimedSteps(said.append, 1, earlier)("a")
    assert said == ["1 of 1: a"]


def test_verify_numbers_its_steps(run, model, tmp_path):
    run("emit", model, "--to", "onnx", "--vectors", 20, "--out", tmp_path / "onnx")
    steps = [line for line in run("verify", tmp_path / "onnx").err.splitlines() if " of " in line]
    assert steps[0].startswith("· 1 of ") and "golden model" in steps[0]
    last, total = steps[-1].split()[1], steps[-1].split()[3].rstrip(":")
    assert last == total == str(len(steps))


# Files of others -----------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("jets", "--jets-per-class", 1), ("waves", "--runs", 1)], ids=lambda words: words[0])
def test_data_are_not_written_over_a_file_that_is_none(run, tmp_path, words):
    (tmp_path / "notes.h5").write_text("mine")
    ended = run("data", *words, "--out", tmp_path / "notes.h5")
    assert ended.status == 2 and "exists and is no HDF5 file: it is not replaced; choose another --out" in ended.err
    assert (tmp_path / "notes.h5").read_text() == "mine"


# Ctrl-C -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("--quiet",)])
def test_ctrl_c_ends_in_one_line(run, monkeypatch, words):
    def interrupt(script):
        raise KeyboardInterrupt

    monkeypatch.setattr("edgephys.cli.models.settings_in", interrupt)
    ended = run("settings", OWN, *words)
    assert ended.status == 1 and ended.err == "edgephys: interrupted; no file is left half-written\n" and not ended.out


# Completion -----------------------------------------------------------------------------------------


def complete(line, place):
    variables = {"_EDGEPHYS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(place)}
    code = "import sys; sys.argv[:] = ['edgephys']; from edgephys.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **variables})
    return done.stdout.split()


def test_the_shell_completes_commands_and_options():
    assert complete("edgephys expl", 1) == ["explain"]
    assert complete("edgephys emit --raw", 2) == ["--raw-inputs"]
    assert complete("edgephys data w", 2) == ["waves"]


def test_completion_is_installed_for_a_shell_into_its_own_files(tmp_path):
    code = (
        "import sys; sys.argv[:] = ['edgephys', '--install-completion', 'bash']; from edgephys.cli import main; main()"
    )
    home = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=home)
    assert done.returncode == 0 and "bash completion installed" in done.stdout
    assert "_EDGEPHYS_COMPLETE" in (tmp_path / ".bash_completions" / "edgephys.sh").read_text()


# Errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("train", "none.py", "--data", "x"), "init"),
        (("train", JETS, "--data", "none.h5"), "data"),
        (("train", OWN, "--data", "none.npz"), "init"),
        (("train", JETS, "--data", "MODEL", "--set", "size=1"), "settings SCRIPT`"),
        (("score", "none", "--data", "x"), "train"),
        (("compress", "MODEL", "none.toml", "--data", "x", "--out", "o"), "init"),
        (("compress", "MODEL", ROOT / "compress" / "untie.toml", "--data", "none.h5", "--out", "o"), "data"),
        (("gains", "none"), "compress"),
        (("explain", "none"), "train"),
        (("explain", "MODEL", "--edge", "@@"), "explain MODEL --all"),
        (("verify", "none"), "emit"),
        (("report", "none"), "emit"),
        (("bench",), "bench --help"),
        (("compare", "C"), "report C"),
        (("netlists", "C"), "verify C --netlist"),
        (("intervals", "C"), "report C"),
    ],
    ids=lambda words: " ".join(map(str, words[:1])) if isinstance(words, tuple) else None,
)
def test_an_error_for_what_is_missing_ends_in_the_command_that_helps(
    run, model, c_project, tmp_path, monkeypatch, words, command
):
    monkeypatch.chdir(tmp_path)
    places = {"MODEL": model, "C": c_project}
    ended = run(*(places.get(word, word) for word in words))
    lines = [line for line in ended.err.splitlines() if line.startswith("edgephys: ")]
    wanted = " ".join(str(c_project) if word == "C" else word for word in command.split())
    assert ended.status in (1, 2) and f"`edgephys {wanted}" in lines[-1]


@pytest.fixture(scope="module")
def c_project(run, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project") / "c"
    assert run("emit", model, "--to", "c", "--vectors", 20, "--out", folder).status == 0
    return folder
