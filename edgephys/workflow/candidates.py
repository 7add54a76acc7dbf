"""Name the models of a table, and state what the table says of their networks, whatever framework they came from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgephys.applications.application import Application, Score
from edgephys.applications.arrays.application import ArrayClasses
from edgephys.applications.registry import applications, of_card, of_metrics, scored
from edgephys.core.errors import ModelError
from edgephys.models.card import Card, ImportedFile, doubt, read_card
from edgephys.models.vectors import read_held_out


@dataclass(frozen=True)
class NetworkFacts:
    """Hold what tables say of a network, whatever its model came from.

    ``family`` is its training script, or the file that it was imported from; ``size`` that of the input (constituents
    of a jet, points of a field's side, numbers of a vector), ``features`` the inputs of each constituent or point.
    ``bits`` is the width that a recipe states; None for a float network and for an import, whose layers have widths of
    their own. ``layers`` tells networks of one family apart.
    """

    family: str
    size: int
    features: int
    bits: int | None
    is_float: bool
    layers: str
    application: Application


@dataclass(frozen=True)
class Candidate:
    """Name a model's folder and hold its card."""

    folder: Path
    card: Card

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.card.name

    @property
    def doubted(self) -> str | None:
        """Why the figures of the card do not belong to the model; None where its digests hold."""
        return doubt(self.card, self.folder)

    @cached_property
    def facts(self) -> NetworkFacts:
        """What tables say of the network.

        Raises: ModelError for a trained model's card that does not state its script and network.
        """
        return (
            _facts(self.card, self.folder) if self.card.imported is None else _facts_of_import(self.card.imported, self)
        )

    @property
    def score(self) -> Score:
        """The score that the card states, or would state where it was imported without answers."""
        return scored(self.card.metrics) if self.card.metrics else self.facts.application.score

    @property
    def network(self) -> tuple[str, str]:
        """What a quantised model and its float twin have in common: family, input and layers."""
        return self.facts.family, self.facts.layers

    @property
    def order(self) -> tuple[int, str, int, int, int, str]:
        """Sort by family, size and features, the widest first."""
        facts = self.facts
        literature = facts.application.literature
        families = list(literature.families) if literature is not None else []
        place = families.index(facts.family) if facts.family in families else len(families)
        return place, facts.family, facts.size, facts.features, -(facts.bits or 0), self.name


def _facts(card: Card, folder: Path) -> NetworkFacts:
    """Return what the recipe of a trained model states of its network.  Raises: ModelError for what it lacks."""
    net = card.net
    if "bits" not in net or "script" not in card.recipe or not any(one.recognises(net) for one in applications()):
        fields = ", or ".join(" and ".join(sorted(application.net_fields)) for application in applications())
        raise ModelError(f"{folder}: its card must state script, bits, and {fields}; train it again")
    application = of_card(card)
    widths = ("bits", "activation_bits", "weight_integers")
    layers = json.dumps({key: value for key, value in net.items() if key not in widths}, sort_keys=True)
    sizes = application.size(net), application.input_width(net)
    return NetworkFacts(str(card.recipe["script"]), *sizes, net["bits"], net["bits"] is None, layers, application)


def _facts_of_import(file: ImportedFile, model: Candidate) -> NetworkFacts:
    """Return what an imported model's file and vectors show of its network."""
    shape = read_held_out(model.folder).inputs.shape[1:]
    application = of_metrics(model.card.metrics) if model.card.metrics else ArrayClasses()
    return NetworkFacts(Path(file.file).stem, shape[0], shape[-1], None, False, file.sha256, application)


def candidates(folders: Sequence[Path]) -> list[Candidate]:
    """Return the models in the order of the table.

    Raises: ModelError for a folder without a card, a trained model's card without a network, or two models of one name.
    """
    models: dict[str, Candidate] = {}
    for folder in folders:
        model = Candidate(folder, read_card(folder))
        if model.name in models:
            first = models[model.name].folder
            raise ModelError(f"{folder}: {model.name} is there twice, also as {first}; name each once")
        models[model.name] = model
    return sorted(models.values(), key=lambda model: model.order)
