"""Malformed files and words end in one clear line, never in an error that nobody foresaw."""

import json
import shutil
import signal
import zipfile
from pathlib import Path

import fuzz_inputs
import h5py
import numpy as np
import pytest
from malformed import header_of, npy

from edgephys.core import hdf5, reading
from edgephys.core.errors import DataError, ModelError, ProjectError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.models.card import read_card
from edgephys.models.trained import load_keras
from edgephys.models.vectors import read_held_out

FIRST_SEED, CASES = 4000, 25
"""A small part of `make fuzz`, always the same."""


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """The files that are spoiled."""
    home = tmp_path_factory.mktemp("inputs")
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["edgephys"])
        fuzz_inputs.prepare(home, fuzz_inputs.in_this_process, kinds=("c",))
    for number, handler in before.items():
        signal.signal(number, handler)
    return home


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + CASES))
def test_a_malformed_input_ends_in_one_clear_line(seed, inputs, run):
    failure, what = fuzz_inputs.run_case(seed, inputs, run)
    assert not failure, f"{what}\n{failure}"


def link_to_itself(path):
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


@pytest.mark.parametrize("spoil, reason", [(Path.unlink, "no such file"), (link_to_itself, "symbolic links")])
@pytest.mark.parametrize(
    "words, name",
    [
        (("verify", "project"), "project/vectors.npz"),
        (("verify", "project"), "project/firmware/model.onnx"),
        (("report", "project", "--no-synth"), "project/graph.json"),
    ],
)
def test_a_file_that_cannot_be_opened_is_named_with_the_reason_alone(
    words, name, spoil, reason, inputs, run, tmp_path, monkeypatch
):
    folder = Path(name).parts[0]
    shutil.copytree(inputs / folder, tmp_path / folder)
    spoil(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    ended = run(*words)
    assert ended.status == 1 and reason in ended.err and "Errno" not in ended.err and "unforeseen" not in ended.err


def test_a_link_to_itself_is_refused_as_an_output_folder(inputs, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    link_to_itself(tmp_path / "out")
    ended = run("emit", inputs / "tagger", "--to", "c", "--vectors", "20", "--out", "out")
    assert ended.status == 2 and "out exists and is not a project of ours" in ended.err


@pytest.mark.parametrize(
    ("table", "name", "value", "why"),
    [
        ("recipe", "net", 3, "net must be a table, not '3'"),
        ("recipe", "batch", "x", "batch must be a whole number, not 'x'"),
        ("recipe", "batch", 0, "batch must be 1..65536, not 0"),
        ("versions", "keras", 3, "each of versions must be a word, not '3'"),
        ("files", "model.keras", 3, "each of files must be a word, not '3'"),
        ("files", "model.keras", None, "each of files must be a word, not 'None'"),
        ("data", "fields", [], "fields must be a table"),
        ("recipe", "net", {"grid": 32, "frames": "x"}, "a value of another kind"),
    ],
)
def test_a_card_whose_tables_do_not_fit_is_refused_before_networks_are_compared(
    table, name, value, why, inputs, run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(inputs / "waves", tmp_path / "waves")
    card = json.loads((tmp_path / "waves/card.json").read_text())
    card.setdefault(table, {})[name] = value
    (tmp_path / "waves/card.json").write_text(json.dumps(card))
    ended = run("dispersion", "waves")
    assert ended.status == 1 and why in ended.err and "train" in ended.err and "unforeseen" not in ended.err


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(22, "Invalid argument", "x.npz"), "invalid argument"),
        (OSError("cut short"), "cut short"),
        (KeyError("rows"), "no 'rows'"),
        (TypeError("'int' object is not iterable"), "a value of another kind: 'int' object is not iterable"),
        (ValueError("bytes that are no text"), "bytes that are no text"),
    ],
)
def test_a_fault_is_stated_in_words_without_numbers_of_the_system(error, why):
    assert reading.fault(error) == why


def test_facts_that_cannot_be_drawn_are_refused(inputs, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(inputs / "as_c", tmp_path / "as_c")
    manifest = json.loads((tmp_path / "as_c/edgephys.json").read_text())
    manifest["facts"]["tensors"][1]["last"] = 2**31
    (tmp_path / "as_c/edgephys.json").write_text(json.dumps(manifest))
    ended = run("report", "--no-synth", "as_c")
    assert ended.status == 1 and "numbers that cannot be drawn" in ended.err


def test_a_failure_of_the_fuzz_prints_its_seed_and_how_to_repeat_it(monkeypatch, capsys, tmp_path):
    class Failing:
        def __init__(self, first, count, home):
            self.lines = [{"seed": first}, {"failure": "unforeseen", "what": "x; status 1"}, {"seed": first + 1}]

        def line(self, limit_s):
            return self.lines.pop(0) if self.lines else None

        def close(self):
            return None

    monkeypatch.setattr(fuzz_inputs, "Worker", Failing)
    assert fuzz_inputs.fuzz(7, 2, tmp_path) == 2
    printed = capsys.readouterr().out
    assert "again: python tests/fuzz_inputs.py --seed 7" in printed and "FAILURE: seed 8" in printed
    assert "it did not end within" in printed and "2 cases, 2 failures" in printed


@pytest.mark.parametrize(
    ("ended", "why"),
    [
        (fuzz_inputs.Ended(None, "", ""), "status None"),
        (fuzz_inputs.Ended(1, "", "edgephys: unforeseen: KeyError"), "unforeseen"),
        (fuzz_inputs.Ended(1, "", ""), "0 lines that say why"),
        (fuzz_inputs.Ended(2, "", "edgephys: a\nedgephys: b"), "2 lines that say why"),
        (fuzz_inputs.Ended(1, "", f"edgephys: {'x' * 5000}"), "too long"),
        (fuzz_inputs.Ended(1, "", "edgephys: \x1b[31m"), "not printable"),
        (fuzz_inputs.Ended(1, "", "edgephys: a"), ""),
        (fuzz_inputs.Ended(0, "", ""), ""),
    ],
)
def test_the_fuzz_tells_a_clear_ending_from_others(ended, why, tmp_path):
    assert why in fuzz_inputs.wrong(ended, tmp_path) if why else not fuzz_inputs.wrong(ended, tmp_path)
    (tmp_path / ".out.edgephys-abcd1234").mkdir()
    assert fuzz_inputs.wrong(fuzz_inputs.Ended(1, "", "edgephys: a"), tmp_path) == "files left behind"


# One file of each kind ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "lists nested too deeply"),
        ('{"name": NaN}', "NaN, which is no number of JSON"),
        ('{"name": -Infinity}', "-Infinity, which is no number of JSON"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        ("1" * 5000, "an integer of 5,000 digits; at most 300 are read"),
        ('{"name": 1' + "0" * 400 + "}", "an integer of 401 digits"),
    ],
)
def test_json_that_is_none_is_refused(tmp_path, text, why):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(ValueError, match=why):
        reading.read_json(tmp_path / "card.json")
    with pytest.raises(ModelError, match=f"expected a model card in JSON, found {why}"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (header_of("(1000000000000,)"), "a header for 8,000,000,000,000 bytes before 64"),
        (header_of("(-8,)"), "a header for -64 bytes before 64"),
        (header_of("(8,)", "'O'"), "object instead of numbers"),
        (header_of("(8,)", "'<V8'"), "instead of numbers"),
        (npy(np.array([None])), "object instead of numbers"),
        (npy(np.array(["a"])), "instead of numbers"),
        (b"\x93NUMPY\x09\x00", r"version \(9, 0\) of .npy"),
        (b"", "cannot be read"),
        (npy(np.int64(3)), "a single number"),
        (npy(np.zeros(3)), "numbers that are not integers"),
        (npy(np.full(3, 2**63, np.uint64)), "integers beyond 64 bits with a sign"),
    ],
)
def test_an_array_that_is_none_is_refused_before_it_is_allocated(tmp_path, member, why):
    with zipfile.ZipFile(tmp_path / "held_out.npz", "w") as archive:
        archive.writestr("inputs.npy", member)
        archive.writestr("labels.npy", npy(np.zeros(3, np.int64)))
    with pytest.raises(ProjectError, match=f"expected vectors .*{why}"):
        read_held_out(tmp_path)


def test_one_array_in_the_place_of_many_is_refused(tmp_path):
    np.save(tmp_path / "held_out.npy", np.arange(6))
    (tmp_path / "held_out.npy").rename(tmp_path / "held_out.npz")
    with pytest.raises(ProjectError, match="found no whole zip archive"):
        read_held_out(tmp_path)
    np.savez(tmp_path / "held_out.npz", inputs=np.arange(6))
    with pytest.raises(ProjectError, match="found no array 'labels', but inputs; make it again"):
        read_held_out(tmp_path)


def test_arrays_in_any_order_of_memory_are_read_as_they_are(tmp_path):
    stored = {
        "c": np.arange(6).reshape(2, 3),
        "f": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "big": np.arange(3, dtype=">i4"),
    }
    np.savez_compressed(tmp_path / "a.npz", **stored)
    read = reading.read_arrays(tmp_path / "a.npz", ["c", "f"], ["big", "none"])
    assert set(read) == set(stored) and all((read[name] == stored[name]).all() for name in stored)


HDF5 = {
    "a link in a circle": (lambda file: file.__setitem__("x", h5py.SoftLink("/x")), "expected a dataset 'x'"),
    "a link that leads nowhere": (lambda file: file.__setitem__("x", h5py.SoftLink("/y")), "expected a dataset 'x'"),
    "a link to another file": (
        lambda file: file.__setitem__("x", h5py.ExternalLink("/dev/zero", "/x")),
        "'x' is a link to another file",
    ),
    "data in another file": (
        lambda file: file.create_dataset("x", (4,), "u1", external=[("/etc/hostname", 0, 4)]),
        "'x' lies in another file",
    ),
    "10^12 rows": (
        lambda file: file.create_dataset("x", (10**12,), "S20", chunks=(100,)),
        "unpack to 20,000,000,000,000",
    ),
    "a large chunk": (
        lambda file: file.create_dataset("x", (1,), "f4", maxshape=(None,), chunks=(10**8,)),
        "unpack to 400,000,000",
    ),
    "a group": (lambda file: file.create_group("x"), "expected a dataset 'x'"),
    "text": (lambda file: file.__setitem__("x", "text"), "expected 1 dimensions, found shape"),
    "words": (lambda file: file.__setitem__("x", ["a", "b"]), "expected numbers, found object"),
    "records": (lambda file: file.__setitem__("x", np.zeros(3, [("a", "f4")])), "expected numbers, found"),
}


@pytest.mark.parametrize("case", HDF5)
def test_an_hdf5_file_that_holds_something_else_is_refused(tmp_path, case):
    spoil, why = HDF5[case]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        spoil(file)
    with (
        pytest.raises(DataError, match=why) as refused,
        hdf5.whole_file(tmp_path / "a.h5", "jet file") as file,
    ):
        hdf5.dataset(tmp_path / "a.h5", file, "x", 1, "fiu", "make it again")
    assert "\n" not in str(refused.value)


def test_an_hdf5_file_with_a_name_that_is_no_text_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["constituents"] = np.zeros(3)
    path.write_bytes(path.read_bytes().replace(b"constituents", b"const\xfftuents"))
    why = "'utf-8' codec can't decode byte 0xff in position 5: invalid start byte"
    with pytest.raises(DataError, match=f"cannot be read .{why}"), hdf5.whole_file(path, "jet file"):
        pass
    with pytest.raises(ValueError, match=f"an HDF5 file that cannot be read: {why}"):
        hdf5.check_content(path.read_bytes())


def test_weights_that_are_not_finite_are_refused(model, tmp_path):
    keras = load_keras(model / "model.keras")
    keras.weights[0].assign(np.full(keras.weights[0].shape, np.nan))
    keras.save(tmp_path / "nan.keras", include_optimizer=False)
    with pytest.raises(ModelError, match=r"nan.keras: weights '.*' must be finite, NaN or infinity found; train again"):
        load_keras(tmp_path / "nan.keras")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[stage]]\nkind = ['prune']", r"stage 1: kind must be one of .*, not \['prune'\]"),
        (f"x = {'[' * 5000}", "expected TOML with"),
        (
            "[[stage]]\nkind = 'prune'\nepochs = 99999999999999999999999",
            "epochs must be a whole number, not 99999999999",
        ),
        ("[[stage]]\nkind = 'prune'\nepochs = nan", "epochs must be a whole number, not nan"),
        ("stage = 1", "expected .*stage.* tables"),
        ("[[stage]]\nkind = 'prune'\n[knob]\nstage = 1\nkey = []\nvalues = [1]", r"stage 1 has no key \[\]"),
    ],
)
def test_a_pipeline_that_is_none_is_refused(tmp_path, text, why):
    from edgephys.compress.pipeline_file import read

    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(UsageError, match=why):
        read(tmp_path / "a.toml")


def test_a_format_whose_binary_point_is_far_away_is_refused():
    for integer in (10**300, -(10**300), 513):
        with pytest.raises(ModelError, match=r"integer must be -512\.\.512, not"):
            Fixed(True, 8, integer)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("facts", [], "facts must be a table, not"),
        ("options", "x", "options must be a table, not"),
        ("name", 3, "name must be a word, not '3'"),
        ("revision", "1", "revision must be a whole number, not '1'"),
        ("files", None, "files must not be null"),
    ],
)
def test_a_manifest_of_other_types_is_refused(run, inputs, tmp_path, key, value, why):
    project = Path(shutil.copytree(inputs / "project", tmp_path / "project"))
    record = json.loads((project / "edgephys.json").read_text()) | {key: value}
    (project / "edgephys.json").write_text(json.dumps(record))
    ended = run("verify", project)
    assert ended.status == 1 and f"manifest or graph is missing or damaged ({why}" in ended.err


def test_facts_that_do_not_fit_the_target_are_explained(run, inputs, tmp_path):
    project = Path(shutil.copytree(inputs / "project", tmp_path / "project"))
    record = json.loads((project / "edgephys.json").read_text())
    (project / "edgephys.json").write_text(json.dumps(record | {"facts": {}}))
    for command in ("verify", "report"):
        ended = run(command, project)
        assert ended.status == 1 and "the facts in the manifest are not ours" in ended.err, ended.err


def test_no_memory_is_one_line(run, model, monkeypatch):
    from edgephys import project

    def too_large(*_):
        raise MemoryError("Unable to allocate 8 TiB")

    monkeypatch.setattr(project, "emit", too_large)
    ended = run("emit", model, "--to", "c")
    assert ended.status == 1 and "out of memory (Unable to allocate 8 TiB); no file is left half-written" in ended.err


def test_a_failure_is_of_limited_length_and_printable_whatever_was_typed(run):
    line = run("verify", "x" * 100_000).err
    assert line.startswith("edgephys: ") and len(line) < 2100 and " ... " in line
    assert run("emit", "m", "--to", "\x1b[31m\u202e").err == (
        "edgephys: --to must be one of hls, rtl, c, onnx, qonnx, not \\x1b[31m\\u202e\n"
    )


def test_a_network_whose_input_or_weights_have_no_format_is_refused():
    from edgephys.applications.jets.networks.deepsets import DeepSets

    with pytest.raises(ModelError, match=r"bits must be 1\.\.62, not 99"):
        DeepSets(input_bits=99)
    with pytest.raises(UsageError, match=r"weight_integers must be -62\.\.62, not \{'phi_1': 1000\}"):
        DeepSets(weight_integers={"phi_1": 1000})


def test_a_fact_that_is_missing_from_a_manifest_is_named_by_verify(inputs, run, tmp_path):
    for kind, fact in (("project", "output"), ("as_c", "probes")):
        shutil.copytree(inputs / kind, tmp_path / kind)
        manifest = json.loads((tmp_path / kind / "edgephys.json").read_text())
        entry = manifest["facts"][fact]
        (entry[0] if isinstance(entry, list) else entry).pop("shape")
        (tmp_path / kind / "edgephys.json").write_text(json.dumps(manifest))
        ended = run("verify", tmp_path / kind)
        assert ended.status == 1 and "shape" in ended.err and "unforeseen" not in ended.err


@pytest.mark.parametrize(
    ("name", "cut", "message"),
    [
        ("inputs", np.s_[..., None], "inputs of shape"),
        ("expected", np.s_[..., :1], "outputs of shape"),
        ("expected", np.s_[:3], "outputs of shape"),
        ("labels", np.s_[:3], "20 labels, found 3"),
    ],
)
def test_vectors_of_another_shape_are_refused(name, cut, message, inputs, run, tmp_path):
    shutil.copytree(inputs / "project", tmp_path / "project")
    with np.load(inputs / "project/vectors.npz") as arrays:
        changed = {**arrays, name: arrays[name][cut]}
    np.savez(tmp_path / "project/vectors.npz", **changed)
    ended = run("verify", tmp_path / "project")
    assert ended.status == 1 and message in ended.err and "unforeseen" not in ended.err


def test_gains_names_the_tables_whose_figures_do_not_fit(inputs, run, tmp_path):
    shutil.copytree(inputs / "run", tmp_path / "run")
    path = tmp_path / "run/compression.json"
    table = json.loads(path.read_text())
    table["rows"][0]["seconds"] = "x"
    path.write_text(json.dumps(table))
    ended = run("gains", tmp_path / "run", "--beside", inputs / "uniform.json")
    assert ended.status == 1 and str(tmp_path / "run") in ended.err and "figures of models" in ended.err
