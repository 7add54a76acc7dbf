"""The standardisation in front of the Graph: raw features give the integers of standardised ones, on each target."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgephys.applications.jets.data import files as jets
from edgephys.core.errors import ModelError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.models.frameworks import load
from edgephys.models.raw_inputs import RAW_INPUTS, RawFeatures, extended, raw_of, with_raw_inputs

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "models" / "samples" / "jets.h5"


@pytest.fixture(scope="module")
def pair(model):
    """Return a model and the same one with raw inputs."""
    loaded = load(model)
    return loaded, with_raw_inputs(loaded)


def test_raw_features_of_a_file_give_the_integers_of_the_standardised_ones(pair):
    one, raw = pair
    ready = one.card.standardisation
    read = jets.read(SAMPLE, 4, ready.names, limit=2000)
    numbers = RawFeatures(**vars(ready)).apply(read.features)
    expected = evaluate.run(one.graph, ready.apply(read.features))
    assert np.array_equal(evaluate.run(raw.graph, numbers), expected)


def test_every_integer_of_a_grid_is_standardised_as_the_card_says(pair):
    one, raw = pair
    ready = one.card.standardisation
    grid = np.linspace([g.low for g in ready.grids], [g.high for g in ready.grids], 70_000).round().astype(np.int64)
    x = grid[: len(grid) // 4 * 4].reshape(-1, 4, 3)
    node = raw.graph.by_name[one.graph.input.name]
    assert np.array_equal(evaluate.trace(raw.graph, {raw.graph.input.name: x})[node.name], ready.of_raw(x))


def test_held_out_vectors_become_raw_features_with_the_same_outputs(pair):
    one, raw = pair
    assert np.array_equal(one.card.standardisation.of_raw(raw.held_out.inputs), one.held_out.inputs)
    expected = evaluate.run(one.graph, one.held_out.inputs)
    assert np.array_equal(evaluate.run(raw.graph, raw.held_out.inputs), expected)
    assert np.array_equal(raw.reference.outputs(raw.held_out.inputs), expected)
    assert raw.reference.layers(raw.held_out.inputs).keys() == one.reference.layers(one.held_out.inputs).keys()


def test_a_model_whose_inputs_are_not_standardised_is_refused(pair):
    one, _ = pair
    ready = one.card.standardisation
    plain = replace(ready, grids=(ready.output,) * 3, centres=(0,) * 3, gains=(1,) * 3, gain_fractions=(0,) * 3)
    for other in (None, plain):
        card = replace(one.card, standardisation=other)
        with pytest.raises(UsageError, match="the inputs of this one are not standardised: leave --raw-inputs out"):
            with_raw_inputs(replace(one, card=card))


def test_a_standardisation_that_gives_another_format_is_refused(pair):
    one, _ = pair
    other = replace(one.card.standardisation, output=Fixed(True, 12, 5, Rounding.RND_CONV, Overflow.SAT))
    with pytest.raises(ModelError, match=r"gives 3 features in fixed<12,5.*train the model again"):
        extended(one.graph, other)


def test_a_held_out_integer_that_no_raw_feature_gives_is_refused(pair):
    ready = replace(pair[0].card.standardisation, gain_fractions=(0, 0, 0))  # steps over most integers
    with pytest.raises(ModelError, match="comes of no raw feature"):
        raw_of(ready, np.array([[[1, 1, 1]]]))


def test_the_benchmark_refuses_a_project_with_raw_inputs(pair, tmp_path):
    from edgephys.bench.timed_targets import grouped
    from edgephys.project import emit
    from edgephys.targets.c.options import COptions

    emit(pair[1], COptions(), tmp_path / "raw")
    with pytest.raises(UsageError, match="emitted with --raw-inputs; bench times networks"):
        grouped([tmp_path / "raw"])


def verified(run, model, target, folder):
    assert run("emit", model, "--to", target, "--raw-inputs", "--vectors", 100, "--out", folder).status == 0
    done = run("verify", folder, "--json")
    assert done.status == 0, done.err
    assert done.json["mismatches"] == 0 and {"golden", "keras", "plain"} < set(done.json["targets"])


def test_c_with_raw_inputs_is_verified_also_on_a_file(run, model, tmp_path):
    verified(run, model, "c", tmp_path / "c")
    done = run("verify", tmp_path / "c", "--data", SAMPLE, "--limit", 50, "--json")
    assert done.status == 0 and done.json["mismatches"] == 0 and done.json["vectors"] == 50


@pytest.mark.slow
@pytest.mark.parametrize("target", ["rtl", "hls", "onnx"])
def test_the_other_targets_with_raw_inputs_are_verified(run, model, target, tmp_path):
    verified(run, model, target, tmp_path / target)


def test_emit_names_the_project_after_its_raw_inputs(run, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("emit", model, "--to", "c", "--raw-inputs")
    assert done.status == 0 and (tmp_path / "hls_projects").glob("*_c_raw")
    assert RAW_INPUTS in next((tmp_path / "hls_projects").glob("*_c_raw/graph.json")).read_text()


def test_python_emits_raw_inputs_too(pair, tmp_path):
    from edgephys.api import LoadedModel

    project = LoadedModel(pair[0]).emit("c", tmp_path / "raw", raw_inputs=True)
    assert project.verify().mismatches == 0
