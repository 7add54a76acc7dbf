"""Limits are stated and refused in one line, before any work; what a full disk leaves behind is named."""

import errno
import json
import os
import resource
import shutil
import time
import zipfile
from pathlib import Path
from typing import get_args

import h5py
import numpy as np
import pytest
from small_model import save_small
from typer.main import get_command

from edgephys.cli import program
from edgephys.core import reading
from edgephys.core.errors import DataError, ModelError, ProjectError, UsageError
from edgephys.core.files import check_free, replace_folder
from edgephys.core.hdf5 import whole_file
from edgephys.models.trained import load_keras
from edgephys.targets.options import declared
from edgephys.targets.registry import TARGETS, options_of
from edgephys.targets.source_scan import Scanned

OWN_RANGE = {"emit --vectors", "compress --synth-seconds", "pareto --synth-seconds", "pareto --workers"} | {
    *(f"bench --{name}" for name in ("seconds", "rounds", "batch", "seed", "core")),
    *(f"scaling --{name}" for name in ("clock-ns", "synth-seconds", "memory-gb")),
}
"""Options whose lowest value is checked by what they belong to, with a message of its own."""


def one_line(ended, status=1):
    lines = [line for line in ended.err.splitlines() if line.startswith("edgephys: ")]
    assert ended.status == status and len(lines) == 1 and "unforeseen" not in lines[0], ended.err
    return lines[0]


# Numbers ------------------------------------------------------------------------------------------


def numbers():
    """Yield every option that is a number, with its command."""
    commands = [(name, command) for name, command in get_command(program()).commands.items()]
    for name, command in commands:
        commands += [(f"{name} {inner}", of) for inner, of in getattr(command, "commands", {}).items()]
        targets = {f"--{option.name.replace('_', '-')}" for of in TARGETS.values() for option in declared(of.options)}
        for parameter in command.params:
            kind = parameter.type_descriptor.annotation
            number = kind in (int, float) or set(get_args(kind)) & {int, float}
            if number and not (name == "emit" and parameter.opts[0] in targets):
                yield f"{name} {parameter.opts[0]}", parameter


def test_every_number_on_the_command_line_has_a_lowest_and_a_highest_value():
    everything = dict(numbers())
    assert len(everything) > 30 and everything.keys() >= OWN_RANGE
    for option, parameter in everything.items():
        assert parameter.max is not None, f"{option}: no highest value"
        assert parameter.min is not None or option in OWN_RANGE, f"{option}: no lowest value"


@pytest.mark.parametrize("value", [-(10.0**30), 10.0**30, float("nan"), float("inf"), 1e-300])
def test_every_number_of_a_target_has_a_lowest_and_a_highest_value(value):
    for name, target in TARGETS.items():
        for option in declared(target.options):
            if option.kind in (int, float) and not (option.name == "cutoff_ns" and value == 10.0**30):
                with pytest.raises(UsageError, match=f"{option.name} "):
                    options_of(name, {option.name: value})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["emit", "MODEL", "--to", "rtl", "--cutoff-ns", "1e-9"], "cutoff_ns must be 0.1 or more and finite"),
        (["emit", "MODEL", "--to", "rtl", "--clock-ns", "1e-300"], "clock_ns must be 0.1..1000, not 1e-300"),
        (["import", "x.onnx", "--count", "999999999999"], "less than or equal to 1000000"),
        (["import", "x.onnx", "--seed", str(2**64)], "less than or equal to 2147483647"),
        (["compress", "MODEL", "x", "--data", "x", "--out", "x", "--seed", "-1"], "greater than or equal to 0"),
        (["bench", "x", "--seconds", "nan"], "less than or equal to"),
        (["train", "SCRIPT", "--data", "x", "--set", "seed=-1"], "seed must be 0..4294967295, not -1"),
        (["train", "SCRIPT", "--data", "x", "--set", "phi=1000000,5"], "up to 4096, not (1000000, 5)"),
        (["pareto", "MODEL", "PIPELINE", "--data", "x", "--out", "o", "--seeds", "1,99999999999"], "0..2147483647"),
        (["data", "waves", "--out", "x", "--dt", "1e-300"], "greater than or equal to"),
    ],
)
def test_a_number_out_of_its_range_is_a_usage_error(run, model, tmp_path, monkeypatch, words, message):
    top = Path(__file__).parent.parent
    monkeypatch.chdir(tmp_path)
    named = {"MODEL": model, "SCRIPT": top / "models/jet_deepsets.py", "PIPELINE": top / "compress/frugal.toml"}
    assert message in one_line(run(*(named.get(word, word) for word in words)), 2)
    assert not list(tmp_path.iterdir())


def test_random_inputs_have_a_limit_of_elements(imported, run, tmp_path):
    message = one_line(run("import", imported, "--count", "1000000", "--out", tmp_path / "out"), 2)
    assert "--count must be at most" in message


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """An ONNX file of a model with many inputs."""
    import onnx
    from onnx import helper

    folder = tmp_path_factory.mktemp("onnx")
    inputs = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 1000])
    outputs = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 1000])
    constants = {"scale": 0.5, "zero": 0.0, "bits": 8.0}
    quant = helper.make_node(
        "Quant", ["x", *constants], ["y"], domain="qonnx.custom_op.general", signed=1, narrow=0, rounding_mode="ROUND"
    )
    tensors = [helper.make_tensor(name, onnx.TensorProto.FLOAT, [], [value]) for name, value in constants.items()]
    graph = helper.make_graph([quant], "many", [inputs], [outputs], tensors)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("qonnx.custom_op.general", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "many.onnx")
    return folder / "many.onnx"


# Folders --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", [".", "..", "../here", "../link"])
def test_the_working_directory_and_what_holds_it_are_no_output(run, model, tmp_path, monkeypatch, out):
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to("here")
    monkeypatch.chdir(tmp_path / "here")
    for force in ([], ["--force"]):
        ended = run("emit", model, "--to", "c", "--out", out, *force)
        assert "the folder that you work in, which cannot be replaced" in one_line(ended, 2)
    assert not list(Path.cwd().iterdir())


def test_an_output_that_cannot_be_written_is_refused_before_the_work(run, model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match=r"file/out cannot be written: .*/file is a file, not a folder"):
        check_free(tmp_path / "file" / "out", "mark", False, "a model")
    assert "cannot be written" in one_line(run("cards", model, "--out", tmp_path / "file" / "table"), 2)
    assert "'.' is no name for what is written" in one_line(run("cards", model, "--out", ""), 2)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match="is not yours to write to"):
        check_free(tmp_path / "out", "mark", False, "a model")


def test_a_full_disk_names_what_was_to_be_written(run, model, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        ended = run("emit", model, "--to", "c", "--out", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    message = one_line(ended)
    assert f"File too large ({tmp_path / 'out'}); no file is left half-written" in message and str(model) not in message
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_disk_names_the_destination_and_others_their_own_file(tmp_path):
    def full(folder):
        raise OSError(errno.ENOSPC, "No space left on device", "/the/source", None, "/a/copy")

    def missing(folder):
        (folder / "nothing").read_bytes()

    with pytest.raises(OSError, match="No space left") as failed:
        replace_folder(tmp_path / "out", full, "mark")
    assert failed.value.filename == str(tmp_path / "out")
    with pytest.raises(FileNotFoundError) as failed:
        replace_folder(tmp_path / "out", missing, "mark")
    assert failed.value.filename.endswith("nothing")


# Files ----------------------------------------------------------------------------------------------


@pytest.fixture
def no_file(tmp_path):
    """A device without an end and a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    return {name: tmp_path / name for name in ("pipe", "zero", "folder")}


@pytest.mark.parametrize("kind", ["pipe", "zero", "folder"])
def test_only_regular_files_are_read(run, model, no_file, tmp_path, kind):
    path = no_file[kind]
    what = "a folder" if kind == "folder" else "a device or a pipe"
    for read in (
        reading.read_bytes,
        reading.read_text,
        reading.read_json,
        lambda path: reading.read_arrays(path, ["x"]),
    ):
        with pytest.raises(ValueError, match=what):
            read(path)
    with pytest.raises(OSError, match=what):
        reading.sha256(path)
    with pytest.raises(DataError, match=f"expected a wave file, found {what}"), whole_file(path, "wave file"):
        pass
    assert f"it is {what}" in one_line(run("import", path, "--out", tmp_path / "out"))
    assert "expected a jet file" in one_line(run("score", model, "--data", path)) or kind == "folder"
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    for name in ("card.json", "held_out.npz", "model.keras"):
        (copy / name).unlink()
        (copy / name).symlink_to(path)
        one_line(run("explain", copy))
        if name == "model.keras":
            (tmp_path / "untie.toml").write_text('[[stage]]\nkind = "untie"\n')
            words = (copy, tmp_path / "untie.toml", "--data", tmp_path / "jets.h5", "--out", tmp_path / "small")
            assert what in one_line(run("compress", *words))
        (copy / name).unlink()
        shutil.copyfile(model / name, copy / name)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(reading.LARGEST_BYTES + 1)
    with pytest.raises(ValueError, match="2,048 MiB; at most 2,048 MiB are read"):
        reading.read_bytes(tmp_path / "large")
    with pytest.raises(
        ProjectError, match="large, line 1: 2,048 MiB; at most 1,024 MiB are read, which we do not emit"
    ):
        Scanned(tmp_path, tmp_path / "large").read()


def within(seconds, call):
    start = time.monotonic()
    call()
    assert time.monotonic() - start < seconds


def test_packed_files_that_are_far_larger_unpacked_are_refused(tmp_path):
    zeros = tmp_path / "zeros.npz"
    np.savez_compressed(zeros, inputs=np.zeros(80_000_000, np.int8), labels=np.zeros(1, np.int8))
    assert zeros.stat().st_size < 300_000
    what = "bytes that unpack to [0-9,]*,.*at most 64 MiB, or 100 times its own size"

    def arrays():
        with pytest.raises(ProjectError, match=what):
            reading.read_integers(zeros, ("inputs", "labels"))

    def hdf5():
        with h5py.File(tmp_path / "zeros.h5", "w") as file:
            file.create_dataset("jets", (10**12, 12), "f4", chunks=(1000, 12), compression="gzip")
        with pytest.raises(DataError, match="unpack to 48,000,000,000,000"), whole_file(tmp_path / "zeros.h5", "jets"):
            pass

    def keras():
        with zipfile.ZipFile(tmp_path / "zeros.keras", "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ("config.json", "model.weights.h5"):
                archive.writestr(name, b"\0" * 40_000_000)
        with pytest.raises(ModelError, match=what):
            load_keras(tmp_path / "zeros.keras")

    for refused in (arrays, hdf5, keras):
        within(10, refused)


def test_an_archive_inside_an_archive_is_limited_too(model, tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.create_dataset("x", (10**10,), "f4", chunks=(1000,))
    with zipfile.ZipFile(model / "model.keras") as whole, zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", whole.read("config.json"))
        archive.write(tmp_path / "weights.h5", "model.weights.h5")
    with pytest.raises(ModelError, match="unpack to 40,000,000,000"):
        load_keras(tmp_path / "a.keras")


# Before any work --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def jets(tmp_path_factory):
    sample = Path(__file__).parent.parent / "models" / "samples" / "jets.h5"
    path = tmp_path_factory.mktemp("jets") / "jets.h5"
    with h5py.File(sample) as source, h5py.File(path, "w") as out:
        for name in source:
            out[name] = source[name][:400] if source[name].ndim > 1 else source[name][:]
    return path


PRUNE = '[[stage]]\nkind = "prune"\nepochs = 1\n\n'


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ('kind = "finetune"\nteacher = ["none"]', "none: no such model"),
        (
            'kind = "finetune"\nteacher = ["cut"]',
            "stage 2 (finetune): .*cut/model.keras: expected the bytes whose SHA-256",
        ),
        ('kind = "distil"\nscript = "none.py"', "none.py: no such file"),
        ('kind = "distil"\nscript = "broken.py"', "stage 2 (distil): .*broken.py: SyntaxError when it was read"),
        ('kind = "distil"\nscript = "waves.py"', "stage 2 (distil): student of .*waves.py: it must read jets"),
    ],
)
def test_what_a_later_stage_needs_is_checked_before_the_first_one(run, trained, jets, tmp_path, stage, message):
    import re

    top = Path(__file__).parent.parent
    shutil.copytree(trained, tmp_path / "cut")
    (tmp_path / "cut/model.keras").write_bytes((trained / "model.keras").read_bytes()[:5000])
    (tmp_path / "broken.py").write_text("RECIPE = (\n")
    shutil.copyfile(top / "models/wave_cnn.py", tmp_path / "waves.py")
    (tmp_path / "stages.toml").write_text(f"{PRUNE}[[stage]]\n{stage}\n")
    scripts = [word for name in ("none.py", "broken.py", "waves.py") for word in ("--run-script", tmp_path / name)]
    words = ("--data", jets, "--out", tmp_path / "out", *scripts)
    ended = run("compress", trained, tmp_path / "stages.toml", *words)
    assert ended.status in (1, 2) and re.search(message.replace("(", r"\(").replace(")", r"\)"), ended.err), ended.err
    assert not (tmp_path / "out").exists() and "epoch" not in ended.err


@pytest.fixture(scope="module")
def trained(tmp_path_factory, jets):
    """A model whose card states the data that it was trained on."""
    folder = save_small(tmp_path_factory.mktemp("trained") / "model")
    card = json.loads((folder / "card.json").read_text())
    card["recipe"] |= {"script": "jet_deepsets", "validation": 0.1, "test": 0.3, "seed": 1}
    (folder / "card.json").write_text(json.dumps(card))
    return folder
