"""Figures that a card states are computed again, and cards and builds hold digests of what they are of."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from received import edited, renewed

from edgephys.core.errors import EdgephysError, ModelError
from edgephys.models.card import CARD
from edgephys.project import VERIFICATION, emit, read, read_result
from edgephys.verify.run import verify

ROOT = Path(__file__).parent.parent
TAGGER, WAVES = ROOT / "models" / "zoo" / "jet_mlp_n8_4bit", ROOT / "models" / "waves" / "full_8bit_input14"


@pytest.fixture(scope="module")
def taggers_project(tmp_path_factory):
    from edgephys.models.frameworks import load
    from edgephys.targets.c.options import COptions

    return emit(load(TAGGER), COptions(), tmp_path_factory.mktemp("tagger") / "tagger", vectors=2000).folder


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (lambda folder: edited(folder / "model" / CARD, lambda r: r["metrics"].update(accuracy=0.99)),
         r"the card states accuracy 0\.99 ± 0\.0023, computed again from the labels of 2000 vectors it is 0\.5"),
        pytest.param(lambda folder: edited(folder / "model" / CARD, lambda r: r["metrics"]["auc"].update(g=0.5)),
         r"the card states auc_g 0\.5 ± 0\.0\d+, computed again from the labels of 2000 vectors it is 0\.8",
                     marks=pytest.mark.slow),
        pytest.param(lambda folder: edited(folder / "model" / CARD, lambda r: r["metrics"].update(accuracy="high")),
         r"the card must state accuracy and its error as numbers, not \('high'",
                     marks=pytest.mark.slow),
        pytest.param(lambda folder: edited(folder / "model" / CARD,
                                           lambda r: r["metrics"].update(accuracy=0.99, accuracy_error=9)),
         r"the card states accuracy 0\.99 ± 9",
                     marks=pytest.mark.slow),
        (lambda folder: relabelled(folder, lambda labels: 0 * labels),
         r"the card states accuracy 0\.\d+ ± 0\.0023, computed again from the labels of 2000 vectors it is 0\.\d+"),
        pytest.param(lambda folder: relabelled(folder, lambda labels: labels + 5),
         r"labels: expected classes 0\.\.4, found 5\.\.9",
                     marks=pytest.mark.slow),
        pytest.param(lambda folder: relabelled(folder, lambda labels: labels[:, None]),
         "labels: expected a class for each of 2000",
                     marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_card_or_labels_that_do_not_fit_the_outputs_fail_verify_and_give_no_figure(
    taggers_project, tmp_path, run, attack, message
):
    folder = Path(shutil.copytree(taggers_project, tmp_path / "tagger"))
    attack(folder)
    renewed(folder)
    verified = verify(read(folder))
    assert not verified.changed and not verified.mismatches
    with pytest.raises(EdgephysError, match=message):
        verified.require()
    figures = {figure["name"]: figure for figure in run("report", folder, "--json").json["figures"]}
    assert figures["accuracy"]["value"] is None and figures["accuracy"]["why"] in verified.failures


def relabelled(folder, change):
    with np.load(folder / "vectors.npz") as arrays:
        content = dict(arrays)
    np.savez_compressed(folder / "vectors.npz", **{**content, "labels": change(content["labels"])})


def test_an_honest_card_passes_and_the_figure_stands_in_record_terminal_and_report(taggers_project, run):
    shown = run("verify", taggers_project)
    assert shown.status == 0, shown.err
    assert "figures of the card, computed again from the labels" in shown.out and "auc_g" in shown.out
    record = read_result(read(taggers_project), VERIFICATION)
    accuracy, *areas = record["score"]["figures"]
    assert accuracy["name"] == "accuracy" and accuracy["vectors"] == 2000 and len(areas) == 5
    assert abs(accuracy["value"] - accuracy["stated"]) < 5 * accuracy["error"] and accuracy["error"] < 0.012
    figures = {figure["name"]: figure for figure in run("report", taggers_project, "--json").json["figures"]}
    assert figures["accuracy"]["target"].endswith("test jets, verified on 2,000")


@pytest.mark.parametrize("count", [16, 128])
def test_the_error_of_a_wave_network_is_computed_again_of_few_fields_too(count):
    from edgephys.graph import evaluate
    from edgephys.models.frameworks import load
    from edgephys.models.vectors import HeldOut
    from edgephys.verify.score import check

    model = load(WAVES)
    chosen = np.linspace(0, len(model.held_out.inputs) - 1, count).astype(int)
    vectors = HeldOut(model.held_out.inputs[chosen], model.held_out.labels[chosen])
    outputs = evaluate.run(model.graph, vectors.inputs)
    (figure,) = check(model.card, model.graph, vectors, outputs).figures
    assert figure.name == "relative_l2" and figure.failure is None
    zeros = HeldOut(vectors.inputs, 0 * vectors.labels)
    assert "is 0 everywhere" in check(model.card, model.graph, zeros, outputs).failures[0]
    few = HeldOut(vectors.inputs[:15], vectors.labels[:15])
    assert "15 labelled vectors are too few" in check(model.card, model.graph, few, outputs[:15]).skipped


@pytest.mark.parametrize("name", ["model.keras", "held_out.npz"])
def test_a_model_with_other_bytes_than_its_card_states_is_not_loaded(model, tmp_path, name):
    from edgephys.models import trained
    from edgephys.models.frameworks import load

    folder = Path(shutil.copytree(model, tmp_path / "m"))
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    for loaded in (load, trained.load):
        with pytest.raises(ModelError, match=rf"{name}: expected the bytes whose SHA-256 card.json states, .* others"):
            loaded(folder)


def test_a_table_takes_no_figure_of_a_card_whose_digests_are_missing_or_wrong(model, tmp_path, run):
    good, bare, wrong = (Path(shutil.copytree(model, tmp_path / name)) for name in ("good", "bare", "wrong"))
    for number, folder in enumerate((good, bare, wrong)):
        edited(folder / CARD, lambda record, number=number: record.update(name=f"model_{number}"))
    edited(bare / CARD, lambda record: record.pop("files"))
    (wrong / "held_out.npz").write_bytes(b"other")
    shown = run("cards", good, bare, wrong, "--json").json
    assert [row["model"] for row in shown["rows"]] == ["model_0"]
    assert "states no digests" in shown["left_out"][str(bare)]
    assert "held_out.npz: expected the bytes" in shown["left_out"][str(wrong)]
    assert "left out" in run("cards", good, bare).out
    assert "no row in the table" in run("cards", bare).err

    sys.path.insert(0, str(ROOT / "models"))
    try:
        from state_digests import state_digests
    finally:
        sys.path.pop(0)
    assert state_digests(bare) and not state_digests(bare)
    assert len(run("cards", good, bare, "--json").json["rows"]) == 2


def test_a_project_whose_card_has_digests_of_another_model_fails_verify_and_reports_no_figure(received, run):
    folder = received("c")
    edited(folder / "model" / CARD, lambda record: record["files"].update({"model.keras": "0" * 64}))
    renewed(folder)
    ended = run("verify", folder)
    assert (
        ended.status == 1
        and "model.keras: expected the bytes whose SHA-256 card.json states, 000000000000" in ended.err
    )
    figures = {figure["name"]: figure for figure in run("report", folder, "--json").json["figures"]}
    assert figures["accuracy"]["value"] is None and "SHA-256" in figures["accuracy"]["why"]


@pytest.mark.parametrize("card", sorted((ROOT / "models").glob(f"*/*/{CARD}")), ids=lambda card: card.parent.name)
def test_the_digests_of_every_model_that_ships_hold(card):
    from edgephys.models.card import doubt, read_card

    assert doubt(read_card(card.parent), card.parent) is None


def test_a_binary_of_the_cache_that_was_changed_is_built_again(tmp_path, monkeypatch):
    from edgephys.core import builds

    monkeypatch.setenv("EDGEPHYS_CACHE", str(tmp_path))
    folders = []

    def build(folder):
        folders.append(folder)
        (folder / "run").write_text("ours")

    home = builds.built("ab12", build)
    assert builds.built("ab12", build) == home and len(folders) == 1
    (home / "run").write_text("theirs")
    assert (builds.built("ab12", build) / "run").read_text() == "ours" and len(folders) == 2
    (home / "more").write_text("theirs")
    builds.built("ab12", build)
    assert not (home / "more").exists() and len(folders) == 3


@pytest.mark.parametrize("change", [lambda path: path.write_text("others"), Path.unlink])
def test_what_was_built_while_the_sources_changed_is_not_kept(tmp_path, monkeypatch, change):
    from edgephys.core import builds
    from edgephys.core.errors import ToolError

    monkeypatch.setenv("EDGEPHYS_CACHE", str(tmp_path / "cache"))
    source, other = tmp_path / "source.c", tmp_path / "other.c"

    def build(folder):
        (folder / "run").write_text(source.read_text())
        change(source)

    for path in (source, other):
        path.write_text("ours")
    key = builds.content_key([source, other], "a compiler")
    with pytest.raises(ToolError, match=r"the sources changed while they were built \(.*source\.c, one of 2\); start"):
        builds.built(key, build)
    source.write_text("ours")
    assert (builds.built(key, lambda folder: (folder / "run").write_text("again")) / "run").read_text() == "again"
