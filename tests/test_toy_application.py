"""An application and a network from outside of the package go through it without a change to a file of it."""

import pytest
from pipeline_texts import stage

from edgephys import cli
from edgephys.applications import registry
from edgephys.applications.application import Application
from edgephys.core.errors import ModelError, UsageError

pytestmark = pytest.mark.slow

SCRIPT = """
from toy_application import {net}
from edgephys.train.recipe import Recipe

RECIPE = Recipe(script="{name}", net={net}(bits=6), learning_rate={{2: 1e-2}}, epochs=8, batch=32)
"""


@pytest.fixture(scope="module", autouse=True)
def toy():
    import toy_application

    # at the import once, and here again: a process of the suite may leave this module and come back to it
    registry.register(toy_application.Points())
    yield toy_application
    del registry.APPLICATIONS["circle"]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return tmp_path_factory.mktemp("toy")


@pytest.fixture
def points(places, run):
    """A file that the application's own command makes."""
    path = places / "points.npz"
    if not path.is_file():
        assert run("data", "circle", "--count", "1500", "--out", path).status == 0
    return path


@pytest.fixture
def model(places, points, run):
    """A model that `edgephys train` makes from a script."""
    folder, script = places / "model", places / "toy.py"
    if not folder.is_dir():
        script.write_text(SCRIPT.format(net="CircleNet", name="toy"))
        done = run("train", script, "--data", points, "--out", folder, "--set", "radius=0.7", "--json")
        assert done.status == 0, done.err
        assert done.json["name"] == "toy_h8_6bit" and done.json["metrics"]["hit_rate"] > 0.7
    return folder


def test_its_commands_are_among_the_others(run, points):
    listed = run("--help").out
    assert listed.index(" dispersion ") < listed.index(" census ") < listed.index(" doctor ")
    assert "circle  Draw points in a square." in run("data", "--help").out
    assert "edgephys: 1500 points" in run("census", points).err


def test_a_trained_model_states_its_settings_and_is_scored(run, model, points):
    from edgephys.models.card import read_card

    card = read_card(model)
    assert card.recipe["radius"] == 0.7 and card.recipe["net"]["hidden"] == 8
    assert card.data["points"] == {"train": 900, "validation": 150, "test": 450}
    done = run("score", model, "--data", points)
    assert done.status == 0 and "on 1500 points" in done.out


def test_it_is_emitted_to_c_and_verified_on_its_vectors_and_on_raw_data(run, model, points, tmp_path):
    out = tmp_path / "toy_c"
    assert run("emit", model, "--to", "c", "--out", out).status == 0
    for words, vectors in (((), 100), (("--data", points, "--limit", "70"), 70)):
        done = run("verify", out, *words, "--json")
        assert done.status == 0, done.err
        assert done.json["mismatches"] == 0 and done.json["vectors"] == vectors


@pytest.mark.slow
def test_it_is_compressed_after_a_teacher(run, model, points, tmp_path):
    pipeline = tmp_path / "small.toml"
    pipeline.write_text(stage("prune", density=0.5, epochs=2, teacher=[str(model)]))
    done = run("compress", model, pipeline, "--data", points, "--out", tmp_path / "small")
    assert done.status == 0, done.err
    assert "hit rate on the validation points" in done.out and "On 450 test points, once" in done.out


@pytest.mark.slow
def test_a_network_from_outside_trains_on_jets(run, few_jets, tmp_path):
    script = tmp_path / "outside.py"
    script.write_text(SCRIPT.format(net="SumTagger", name="outside"))
    words = ("--set", "constituents=4", "--set", "epochs=1", "--set", "features=all")
    done = run("train", script, "--data", few_jets, "--out", tmp_path / "m", *words)
    assert done.status == 1 and "column 'px', found pt etarel phirel" in done.err  # the sample has three of the sixteen
    done = run("train", script, "--data", few_jets, "--out", tmp_path / "m", *words[:-2], "--json")
    assert done.status == 0, done.err
    assert done.json["name"] == "outside_n4_6bit" and done.json["metrics"]["jets"] == 600


# The registry -------------------------------------------------------------------------------------


def test_names_and_commands_belong_to_one_application(toy):
    registry.register(toy.Points())  # once more: nothing happens

    class Other(toy.Points):
        pass

    with pytest.raises(UsageError, match="application 'circle': an application of that name is registered; choose"):
        registry.register(Other())
    Other.name, Other.commands = "other", {"waves": "nowhere:waves"}
    with pytest.raises(UsageError, match="application 'other': the command 'waves' is of 'waves'; choose another"):
        registry.register(Other())


def test_a_model_of_no_application_is_refused():
    from edgephys.models.card import Card

    card = Card(
        name="alien", parameters=1, metrics={}, classes=(), recipe={"net": {"eyes": 3}}, seed=1, versions={},
        standardisation=None,
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"model 'alien': its card must state a network with .* not with eyes; train"):
        registry.of_card(card)
    with pytest.raises(ModelError, match=r"metrics: expected accuracy or relative_l2 or hit_rate, found \['eyes'\]"):
        registry.scored({"eyes": 3})


def test_an_installed_package_adds_its_applications_by_an_entry_point(toy, monkeypatch):
    class Entry:
        @staticmethod
        def load():
            return toy.Points

    kept = registry.APPLICATIONS.pop("circle")
    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry] if group == "edgephys.applications" else [])
    assert registry.of_network(toy.CircleNet()).name == "circle" and "circle" in registry.APPLICATIONS
    registry.APPLICATIONS["circle"] = kept


@pytest.mark.parametrize("name", ["jets", "waves", "circle", "classes", "numbers"])
def test_every_application_keeps_the_contract(name):
    application = registry.APPLICATIONS[name]
    assert isinstance(application, Application) and application.name == name
    assert all(callable(registry.load_object(place)) for place in application.commands.values())
    metrics = {application.score.key: 0.5, application.score.error: 0.1, application.score.unit: 7}
    assert "7 test " in application.describe({**metrics, "auc": {}}, "test ")
    assert registry.of_metrics(metrics) is application
    assert set(application.commands) - {registry.DATA} <= set(cli.all_commands())
