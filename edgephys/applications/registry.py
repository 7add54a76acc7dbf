"""Every application by name; an application from outside of the package is added by ``register``.

An installed package can also name its applications as entry points of the group ``edgephys.applications``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from edgephys.applications.application import Application, Score
from edgephys.applications.arrays.application import ArrayClasses, ArrayNumbers
from edgephys.applications.jets.application import JetTagging
from edgephys.applications.waves.application import WaveSimulation
from edgephys.core.errors import ModelError, UsageError

if TYPE_CHECKING:
    from edgephys.models.card import Card
    from edgephys.networks.network import Net

GROUP = "edgephys.applications"
DATA = "data"
"""The command that makes data, which every application may have."""
APPLICATIONS: dict[str, Application] = {}
"""Every application that is registered, in the order of registration."""


def register(application: Application) -> None:
    """Add an application: train, score, compress and verify then take its networks and data.

    Raises: UsageError where its name or a command belongs to another application.
    """
    for other in APPLICATIONS.values():
        if type(other) is type(application):
            return
        if other.name == application.name:
            raise UsageError(f"application '{other.name}': an application of that name is registered; choose another")
        for command in sorted((set(other.commands) & set(application.commands)) - {DATA}):
            raise UsageError(
                f"application '{application.name}': the command '{command}' is of '{other.name}'; choose another name"
            )
    APPLICATIONS[application.name] = application


for _application in (JetTagging(), WaveSimulation(), ArrayClasses(), ArrayNumbers()):
    register(_application)


def applications() -> Iterator[Application]:
    """Yield every application: those registered, then those of installed packages, which are registered then."""
    yield from tuple(APPLICATIONS.values())
    for entry in entry_points(group=GROUP):
        application = entry.load()()
        if application.name not in APPLICATIONS:
            register(application)
            yield application


def load_object(place: str) -> Any:
    """Return what a place such as "module:function" names."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def of_network(net: Net) -> Application:
    """Return the application of a network's configuration; raise UsageError where there is none."""
    for application in applications():
        if application.takes(net):
            return application
    names = " or ".join(dict.fromkeys(application.network.__name__ for application in APPLICATIONS.values()))
    raise UsageError(f"net must be a {names}, not {type(net).__name__}; see models/, or register its application")


def of_card(card: Card) -> Application:
    """Return the application of a model's card; raise ModelError where none recognises its network."""
    net = card.net
    for application in applications():
        if application.recognises(net):
            return application
    fields = ", or ".join(" and ".join(sorted(known.net_fields)) for known in APPLICATIONS.values())
    raise ModelError(
        f"model '{card.name}': its card must state a network with {fields}, not with "
        f"{', '.join(sorted(net)) or 'nothing'}; train it again, or register its application"
    )


def of_metrics(metrics: Mapping[str, Any], prefix: str = "") -> Application:
    """Return the application whose score metrics or a row hold; raise ModelError where there is none.

    ``prefix`` stands before the score's key.
    """
    application = _scoring(metrics, prefix)
    if application is not None:
        return application
    keys = " or ".join(dict.fromkeys(application.score.key for application in APPLICATIONS.values()))
    raise ModelError(f"metrics: expected {keys}, found {sorted(metrics)}; train the model again")


def scored(metrics: Mapping[str, Any], prefix: str = "") -> Score:
    """Return the score that metrics or a row hold; raise ModelError where there is none.

    ``prefix`` stands before the score's key.
    """
    return of_metrics(metrics, prefix).score


def score_in(metrics: Mapping[str, Any], prefix: str = "") -> Score | None:
    """Return the score that metrics or a row hold; None where there is none, as of an import without answers."""
    application = _scoring(metrics, prefix)
    return None if application is None else application.score


def _scoring(metrics: Mapping[str, Any], prefix: str) -> Application | None:
    """Return the application whose score metrics or a row hold, that of their unit where several have it."""
    known = [one for one in applications() if metrics.get(f"{prefix}{one.score.key}") is not None]
    stated = (one for one in known if one.score.unit in metrics or f"test_{one.score.unit}" in metrics)
    return next(stated, known[0]) if known else None
