"""A message that asks for a step ends in the command of that step, and the command is one that can be run."""

import ast
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_lines import parse
from keras_models import model_of
from small_model import trained

from edgephys import project
from edgephys.core import remedies
from edgephys.core.errors import ModelError, ProjectError
from edgephys.models import frameworks
from edgephys.models.card import read_card
from edgephys.models.trained import save
from edgephys.networks.backend import keras
from edgephys.targets.c.options import COptions
from edgephys.targets.emit_again import emit_again
from edgephys.targets.rtl.options import RtlOptions
from edgephys.targets.target import failure

ROOT = Path(project.__file__).parent


def manifest(folder, **entries):
    """Write a manifest alone, as a damaged project has one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "edgephys.json").write_text(json.dumps(entries))
    return folder


def command_in(message):
    """Return the command that a message states."""
    return re.search(r"`(edgephys [^`]*)`", message)[1]


# The command that emits a project again ----------------------------------------------------------


def test_a_project_is_emitted_again_with_the_options_that_are_not_defaults(tmp_path):
    folder = manifest(
        tmp_path / "p", kind="rtl", options={"clock_ns": 10, "part": "xc7a35tcsg324-1", "language": "verilog"}
    )
    said = "emit the project again: `edgephys emit MODEL --to rtl --clock-ns 10 --part xc7a35tcsg324-1 --out {}`"
    assert emit_again(folder) == said.format(folder)


def test_the_project_of_a_source_is_the_folder_with_the_manifest(tmp_path):
    folder = manifest(tmp_path / "p", kind="c", options={"style": "loops"})
    assert emit_again(folder / "firmware" / "net.c").endswith(f"--to c --style loops --out {folder}`")


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"kind": "c; rm -rf ~", "options": {"prefix": "x"}},
        {"kind": ["c"], "options": []},
        {"kind": "rtl", "options": "x"},
    ],
)
def test_a_damaged_manifest_leaves_words_for_the_reader(tmp_path, entries):
    folder = manifest(tmp_path / "p", **entries)
    assert re.search(rf"`edgephys emit MODEL --to (TARGET|rtl) --out {folder}`$", emit_again(folder))


def test_a_manifest_puts_nothing_into_the_command_that_a_shell_would_run(tmp_path):
    hostile = {
        "part": "x; rm -rf ~",
        "prefix": "$(id)",
        "clock_ns": float("1e300"),
        "language": "vhdl\nrm",
        "ii": "--force",
    }
    folder = manifest(tmp_path / "a b", kind="rtl", options=hostile)
    assert emit_again(folder) == f"emit the project again: `edgephys emit MODEL --to rtl --out '{folder}'`"


def test_without_a_folder_the_command_has_words_for_it(tmp_path):
    assert emit_again(to="onnx") == "emit the project again: `edgephys emit MODEL --to onnx --out PROJECT`"
    file = tmp_path / "net.c"
    file.write_text("")
    assert emit_again(file, "c") == "emit the project again: `edgephys emit MODEL --to c --out PROJECT`"
    assert emit_again(Path("nowhere")) == "emit the project again: `edgephys emit MODEL --to TARGET --out nowhere`"


@pytest.mark.parametrize("options", [RtlOptions(clock_ns=4, ii=8, prefix="net"), COptions(style="loops", batch=True)])
def test_the_stated_options_are_those_of_the_project(tmp_path, options):
    from dataclasses import asdict

    folder = manifest(tmp_path / "p", kind="rtl" if isinstance(options, RtlOptions) else "c", options=asdict(options))
    words = command_in(emit_again(folder)).replace("MODEL", "models/zoo/jet_deepsets_n8_8bit")
    parse(words)
    for value in ("4", "8", "net") if isinstance(options, RtlOptions) else ("loops", "--batch"):
        assert f" {value}" in words


# Messages ----------------------------------------------------------------------------------------


def test_every_command_of_the_remedies_is_one_that_the_program_takes(tmp_path):
    texts = [
        remedies.train_again(),
        remedies.train_one(),
        remedies.import_again(),
        remedies.bring_in(),
        remedies.quantise(),
        remedies.not_verified(tmp_path),
        emit_again(to="rtl"),
    ]
    for text in texts:
        parse(command_in(text).replace("SCRIPT", "models/jet_deepsets.py"))


def test_a_folder_that_is_no_project_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(ProjectError, match=r"`edgephys emit MODEL --to TARGET --out .*` makes one$"):
        project.read(tmp_path)


def test_a_damaged_project_names_the_command_that_emits_it_again(tmp_path):
    folder = manifest(tmp_path / "p", kind="rtl", options={"ii": 8})
    with pytest.raises(
        ProjectError, match=r"; emit the project again: `edgephys emit MODEL --to rtl --ii 8 --out .*`$"
    ):
        project.read(folder)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_result_names_the_command_that_writes_it_again(c_project, tmp_path, text):
    opened = project.read(Path(shutil.copytree(c_project, tmp_path / "c")))
    for name, words in (("verify", "verify"), ("verify_data", "verify --data FILE"), ("report", "report")):
        (opened.folder / "results").mkdir(exist_ok=True)
        (opened.folder / "results" / f"{name}.json").write_text(text)
        with pytest.raises(
            ProjectError, match=rf"; remove it; this writes it again: `edgephys {words} {opened.folder}`$"
        ):
            project.read_result(opened, name)
    (opened.folder / "results" / "board.json").write_text(text)
    with pytest.raises(ProjectError, match=r"; remove it$"):
        project.read_result(opened, "board")


def test_a_folder_that_is_no_model_names_the_commands_that_make_one(tmp_path):
    for reader in (read_card, frameworks.framework_of):
        with pytest.raises(
            ModelError, match=r"`edgephys train SCRIPT .*` makes one, or `edgephys import FILE` of a file"
        ):
            reader(tmp_path)


def test_a_damaged_card_names_the_training(tmp_path):
    save(trained(), tmp_path)
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(ModelError, match=rf"; train again: `edgephys train SCRIPT --data FILE --out {tmp_path}`$"):
        read_card(tmp_path)


def test_a_float_model_names_the_command_that_quantises_this_file(run, tmp_path):
    model_of((4,), keras.layers.Dense(3, name="d")).save(tmp_path / "own.keras")
    np.savez(tmp_path / "mine.npz", x=np.zeros((20, 4), np.float32))
    words = (tmp_path / "own.keras", "--data", tmp_path / "mine.npz")
    ended = run("import", *words, "--out", tmp_path / "own")
    wanted = f"`edgephys quantise {words[0]} --data {words[2]} --bits 8 --out {tmp_path / 'own'}`"
    assert ended.status == 1 and ended.err.splitlines()[-1].endswith(wanted)
    assert remedies.quantise() == "`edgephys quantise FILE --data DATA --bits 8 --out FOLDER`"


def test_a_failed_verification_names_the_command_that_shows_where(tmp_path):
    assert failure({"mismatches": 2, "changed": []}, tmp_path).endswith(f"to see where: `edgephys verify {tmp_path}`")
    changed = failure({"mismatches": 0, "changed": ["firmware/a.c"]}, tmp_path)
    assert changed.endswith(f"emit the project again: `edgephys emit MODEL --to TARGET --out {tmp_path}`")


def test_a_changed_source_that_fails_ends_in_the_command_of_its_emission(run, c_project, tmp_path):
    folder = Path(shutil.copytree(c_project, tmp_path / "c"))
    source = next((folder / "firmware").glob("*.c"))
    source.write_text(source.read_text().replace("return", "retrun", 1) + "\n/* changed */\n")
    ended = run("verify", folder)
    assert ended.status == 1 and f"`edgephys emit MODEL --to c --prefix small --out {folder}`" in ended.err.replace(
        "\n", " "
    )


def test_no_message_asks_for_a_step_of_ours_without_its_command():
    """Strings that end in these words are messages whose command is missing."""
    bare = re.compile(
        r"((emit|import|lower) (it|them|the (model|project)) again|; (emit|train) again|run `edgephys verify`)$"
    )
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not bare.search(node.value), f"{path}: {node.value}"
