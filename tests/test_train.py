"""Training: recipes as data, one seed one model, and quantised training that starts from a float model."""

import ctypes
import dataclasses
import errno
import re
import shutil

import numpy as np
import pytest

from edgephys.applications.jets.data.layout import PARTICLE_NAMES
from edgephys.applications.jets.networks.deepsets import DeepSets
from edgephys.applications.jets.networks.interaction import InteractionNetwork
from edgephys.applications.jets.networks.mlp import Mlp
from edgephys.core.errors import DataError, ModelError, UsageError
from edgephys.core.files import replace_folder
from edgephys.train import fit as train
from edgephys.train.recipe import Recipe, with_settings

NET = DeepSets(constituents=4, phi=(8, 6), rho=(5,), bits=6)
RECIPE = Recipe("small", NET, {4: 2e-3}, epochs=2, batch=128)


@pytest.fixture(scope="module")
def trained(few_jets):
    return train.fit(RECIPE, few_jets)


@pytest.mark.slow
def test_one_seed_gives_one_model(trained, few_jets):
    again = train.fit(RECIPE, few_jets)
    for ours, theirs in zip(trained.model.get_weights(), again.model.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)
    assert again.card.metrics == trained.card.metrics


def test_the_card_says_how_the_model_came_to_be(trained, few_jets):
    card = trained.card
    assert card.name == "small_n4_6bit" and card.seed == RECIPE.seed and card.epochs_run == 2
    assert card.recipe["net"]["phi"] == (8, 6) and card.recipe["learning_rate"] == 2e-3
    assert card.data["jets"] == {"train": 1199, "validation": 201, "test": 600}
    assert card.data["train"]["file"] == few_jets.name and len(card.data["train"]["sha256"]) == 64
    assert {"edgephys", "tensorflow", "keras", "qkeras-v3"} <= set(card.versions)
    assert card.metrics["jets"] == 600 and card.metrics["accuracy_error"] > 0


def test_the_test_jets_are_never_trained_on(few_jets):
    sample, _ = train.prepare(RECIPE, few_jets)
    seen = {row.tobytes() for row in np.sort(np.concatenate([sample.train[0], sample.validation[0]]), axis=1)}
    held = np.sort(NET.input.values(sample.test.inputs).astype(np.float32), axis=1)
    assert not [row for row in held if row.tobytes() in seen]


def test_a_test_file_takes_the_place_of_a_test_share(few_jets, tmp_path):
    sample, _ = train.prepare(RECIPE, few_jets, test_data=shutil.copy(few_jets, tmp_path / "test.h5"))
    assert len(sample.test.labels) == 2000
    assert len(sample.train[1]) + len(sample.validation[1]) == 2000


def test_an_empty_split_is_refused(few_jets):
    with pytest.raises(DataError, match="split"):
        train.prepare(dataclasses.replace(RECIPE, validation=1e-6), few_jets)


def test_settings_reach_the_recipe_and_its_network():
    changed = with_settings(RECIPE, ["bits=float", "epochs=7", "phi=16-8", "learning_rate=0.01", "validation=0.2"])
    assert changed.net.bits is None and changed.net.phi == (16, 8)
    assert (changed.epochs, changed.rate(), changed.validation) == (7, 0.01, 0.2)
    assert changed.name == "small_n4_float"
    with pytest.raises(UsageError, match="expected KEY=VALUE with KEY one of"):
        with_settings(RECIPE, ["width=3"])


def test_settings_of_every_network_are_read_as_their_type():
    def net(of, *settings):
        return with_settings(Recipe("s", of, {8: 1e-3}), settings).net

    assert net(Mlp(), "layers=16-8,4").layers == (16, 8, 4) and net(Mlp(), "layers=").layers == ()
    assert net(Mlp(layers=(3,)), "layers=none").layers is None
    effects = net(InteractionNetwork(), "effects=12-6", "classifier=none")
    assert (effects.effects, effects.classifier) == ((12, 6), None)
    assert net(Mlp(), "features=all").features == PARTICLE_NAMES and len(PARTICLE_NAMES) == 16
    assert net(Mlp(), "features=pt,etarel").features == ("pt", "etarel")
    assert [net(Mlp(), f"bits={text}").bits for text in ("float", "none", "5")] == [None, None, 5]


@pytest.mark.parametrize(
    ("net", "setting", "message"),
    [
        (Mlp(), "layers=a", "expected a list of numbers such as 32,32,32, found 'a'"),
        (Mlp(), "layers=float", "expected a list of numbers such as 32,32,32, found 'float'"),
        (Mlp(), "layers=8,,4", "expected a list of numbers such as 32,32,32, found '8,,4'"),
        (InteractionNetwork(), "effects=-3", "expected a list of numbers such as 32,32,32, found '-3'"),
        (InteractionNetwork(), "bits=all", "expected int, found 'all'"),
        (InteractionNetwork(), "constituents=none", "expected int, found 'none'"),
        (DeepSets(), "phi=none", "expected a list of numbers such as 32,32,32, found 'none'"),
        (DeepSets(), "learning_rate=fast", "expected float, found 'fast'"),
        (DeepSets(), "validation=some", "expected float, found 'some'"),
    ],
)
def test_a_setting_of_another_type_is_refused_in_one_line(net, setting, message):
    with pytest.raises(UsageError, match=f"^--set {re.escape(f'{setting}: {message}')}$"):
        with_settings(Recipe("s", net, {8: 1e-3}), [setting])


def test_the_rate_is_that_of_the_nearest_stated_size():
    stated = dataclasses.replace(RECIPE, learning_rate={8: 0.1, 16: 0.2, 32: 0.3})
    sizes = {4: 0.1, 11: 0.1, 17: 0.2, 60: 0.3}
    for size, rate in sizes.items():
        assert dataclasses.replace(stated, net=DeepSets(constituents=size)).rate() == rate


@pytest.mark.slow
@pytest.mark.usefixtures("uncompiled")
def test_a_start_with_other_layers_is_refused(trained, few_jets):
    other = dataclasses.replace(RECIPE, net=dataclasses.replace(NET, phi=(4,)))
    with pytest.raises(ModelError, match=r"starting model 'small_n4_6bit': its weights .* must be the recipe's"):
        train.fit(other, few_jets, start=trained)
    floating = train.fit(with_settings(RECIPE, ["bits=float", "epochs=1"]), few_jets)
    with pytest.raises(ModelError, match=r"starting model: its layers .* must be the recipe's"):
        train.fit(other, few_jets, start=floating)


@pytest.mark.slow
@pytest.mark.usefixtures("uncompiled")
def test_a_model_of_the_same_bits_goes_on_where_it_stood(trained, few_jets):
    rested = train.fit(with_settings(RECIPE, ["epochs=1", "learning_rate=1e-30"]), few_jets, start=trained)
    for ours, theirs in zip(trained.model.get_weights(), rested.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.usefixtures("uncompiled")
def test_0_epochs_keep_the_weights_of_the_start_and_measure_them(trained, few_jets):
    kept = train.fit(with_settings(RECIPE, ["epochs=0"]), few_jets, start=trained)
    assert all(map(np.array_equal, trained.model.get_weights(), kept.model.get_weights()))
    assert kept.card.epochs_run == 0 and kept.card.metrics == trained.card.metrics
    assert kept.card.validation.keys() == trained.card.validation.keys()


def test_training_that_diverges_is_an_error_that_says_what_to_lower():
    train._require_finite(0, {"loss": 1.0})
    with pytest.raises(ModelError, match="training diverged: loss is nan after epoch 3; lower learning_rate"):
        train._require_finite(2, {"accuracy": 0.2, "loss": float("nan")})


def test_a_file_system_without_exchange_still_replaces_the_folder(tmp_path, monkeypatch):
    class Library:
        @staticmethod
        def renameat2(*_):
            ctypes.set_errno(errno.EINVAL)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library)
    for text in ("old", "new"):
        replace_folder(tmp_path / "m", lambda folder, text=text: (folder / "card.json").write_text(text), "card.json")
    assert (tmp_path / "m" / "card.json").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_an_unknown_schedule_is_refused():
    with pytest.raises(UsageError, match="schedule must be one of plateau, cosine, not step"):
        with_settings(RECIPE, ["schedule=step"])


@pytest.mark.slow
def test_a_quantised_network_starts_from_a_float_one_and_its_card_says_so(few_jets):
    floating = train.fit(with_settings(RECIPE, ["bits=float"]), few_jets)
    card = train.fit(RECIPE, few_jets, start=floating).card
    assert card.start == {"name": "small_n4_float", "seed": 1, "epochs_run": 2} and card.logit_scale >= 1
