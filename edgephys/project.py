"""A project folder: emitted sources with all that is needed to check them again, on any machine.

::

    edgephys.json   the manifest: target, options, facts of the emission, versions, hashes
    graph.json      the Graph that was emitted
    vectors.npz     held-out inputs, labels and the golden model's outputs
    model/          the model's file and card
    firmware/       the sources
    results/        results of verify and report, each with the hash of the project for which it is valid
    example/        of C: a program that calls the model, a Makefile and a README, which no result depends on
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from edgephys import __version__
from edgephys.core.errors import ModelError, ProjectError, UsageError
from edgephys.core.files import json_text, replace_folder, write_json
from edgephys.core.fixed import Integers
from edgephys.core.names import own_file, require_all_plain, require_inside, require_name
from edgephys.core.reading import UNREADABLE, fault, fitting, read_json, require_types, sha256
from edgephys.core.remedies import command
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph, from_record, to_record
from edgephys.graph.ranges import require_proven
from edgephys.models import card as card_file
from edgephys.models import vectors as vectors_file
from edgephys.models.card import Card
from edgephys.models.model import Model
from edgephys.models.raw_inputs import standardisation_in
from edgephys.models.vectors import Vectors
from edgephys.targets.emit_again import MANIFEST as PROJECT_FILE
from edgephys.targets.emit_again import emit_again
from edgephys.targets.registry import TARGETS, target_of
from edgephys.targets.target import EmittedProject, Example, Target

MANIFEST = PROJECT_FILE
VECTORS = "vectors.npz"
EMISSION = "emit"
"""Result with the seconds of an emission."""
VERIFICATION, FILE_VERIFICATION = "verify", "verify_data"
"""Results of the verification on the project's own vectors, and on those of a file."""
OF_COMMANDS = {
    VERIFICATION: ("verify",),
    FILE_VERIFICATION: ("verify", "--data", "FILE"),
    "report": ("report",),
    "bench": ("bench",),
}
"""Commands that write a result, without the project."""
FORMAT = 1
TESTBENCH = 100
"""Vectors for a test bench of the project's own."""


TYPES: dict[str, type | tuple[type, type]] = dict.fromkeys(("kind", "name", "model", "graph"), str)
TYPES |= {"revision": int, "options": dict, "facts": dict, "versions": (dict, str), "files": (dict, str)}
"""Types of the fields of a manifest, as JSON has them."""


@dataclass(frozen=True)
class Manifest:
    """State what a project is; the fields are the keys on disk, in their order.

    ``kind`` names the target, ``revision`` is that of its emitter, ``graph`` the digest of the Graph. ``facts`` is what
    the emission states of its sources. ``files`` are the emitted files with their digests.
    """

    kind: str
    revision: int
    name: str
    model: str
    graph: str
    options: Mapping[str, Any]
    facts: Mapping[str, Any]
    versions: Mapping[str, str]
    files: Mapping[str, str | None]

    def to_record(self) -> dict[str, Any]:
        """Return the manifest as plain JSON types."""
        return {"format": FORMAT, **{entry.name: getattr(self, entry.name) for entry in fields(self)}}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Manifest:
        """Return the manifest of a record; raise ValueError where a key is missing or the format is another."""
        values: dict[str, Any] = {"revision": 1, "model": ""} | {
            key: value for key, value in record.items() if key != "format"
        }
        names = {entry.name for entry in fields(cls)}
        missing = names - set(values)
        if missing:
            raise ValueError(f"the manifest lacks {', '.join(sorted(missing))}")
        if record.get("format") != FORMAT:
            raise ValueError(f"the format must be {FORMAT}, not {record.get('format')}")
        if null := [name for name in names if values[name] is None]:
            raise ValueError(f"{null[0]} must not be null")
        require_types(values, TYPES)
        require_name("name", values["name"])
        require_all_plain("facts", values["facts"])
        require_all_plain("options", values["options"])
        for name in values["files"]:
            require_inside("files", name)
        return cls(**{name: values[name] for name in names})


@dataclass(frozen=True, eq=False)
class Project:
    """Name a project folder and hold its manifest and Graph."""

    folder: Path
    manifest: Manifest
    graph: Graph
    _scanned: list[bool] = field(default_factory=list, init=False, repr=False)

    @property
    def name(self) -> str:
        """Name of the project."""
        return self.manifest.name

    @property
    def kind(self) -> str:
        """Name of its target."""
        return self.manifest.kind

    @property
    def target(self) -> Target:
        """What it is emitted for."""
        return TARGETS[self.kind]

    @property
    def facts(self) -> dict[str, Any]:
        """What the emission stated of itself."""
        return dict(self.manifest.facts)

    @property
    def emitted(self) -> EmittedProject:
        """What its target reads to measure it; the sources are scanned first, as for ``firmware``."""
        self._scan()
        return EmittedProject(
            self.folder,
            self.name,
            self.graph,
            self.facts,
            self.manifest.options,
            self.manifest.versions,
            lambda name: read_result(self, name),
            lambda: read_vectors(self).inputs,
        )

    def using_facts(self) -> AbstractContextManager[None]:
        """Explain, with a ProjectError, what a damaged manifest or result causes where its facts are used."""
        return fitting(self.folder, f"a {MANIFEST}, and results, that fit its target", ProjectError)

    @property
    def clock_ns(self) -> float:
        """The clock that the project was emitted for; only firmware has one."""
        return float(self.manifest.options["clock_ns"])

    @property
    def part(self) -> str:
        """The part that the project was emitted for; only firmware has one."""
        return str(self.manifest.options["part"])

    @property
    def firmware(self) -> Path:
        """Folder of the sources, which can only compute: whoever compiles or simulates them gets it here.

        Raises: ProjectError naming the file and the line that we would not emit.
        """
        self._scan()
        return self.folder / "firmware"

    def _scan(self) -> None:
        if not self._scanned:
            self.target.scan(self.folder / "firmware", self.facts)
            self._scanned.append(True)

    @property
    def model(self) -> Path:
        """Folder of the trained model."""
        return self.folder / "model"

    def changed(self) -> tuple[str, ...]:
        """Return the emitted files that are not as they were emitted, or are gone; new ones are not ours."""
        return tuple(name for name, digest in self.manifest.files.items() if self._digest(name) != digest)

    def state(self) -> str:
        """Return a hash of the manifest and of every emitted file as it is now: what a result holds for."""
        files = sorted(self.manifest.files)
        digests = [[name, self._digest(name)] for name in (MANIFEST, *files)]
        return hashlib.sha256(json.dumps(digests).encode()).hexdigest()

    def _digest(self, name: str) -> str | None:
        """Return the digest of a file of the project; None where it is gone or is a link to elsewhere."""
        try:
            return _digest(own_file(self.folder, name))
        except ValueError:
            return None


def _digest(path: Path) -> str | None:
    return sha256(path).hex() if path.is_file() else None


def emit(model: Model, options: Any, out: Path, force: bool = False, vectors: int | None = None) -> Project:
    """Write a project folder, replacing a former one of ours in one step; its kind follows from the options' type.

    Raises: UsageError where ``out`` is not ours or an option is out of range; ModelError where the graph has no exact
    form on the target.
    """
    target = target_of(options)
    graph, held_out = model.graph, model.held_out
    if vectors is not None and not 1 <= vectors <= len(held_out.inputs):
        raise UsageError(f"vectors must be 1..{len(held_out.inputs)} (what the model carries), not {vectors}")
    count = len(held_out.inputs)
    chosen = slice(None) if vectors is None else np.linspace(0, count - 1, vectors).astype(int)  # of all runs of waves
    inputs, labels = held_out.inputs[chosen], held_out.labels[chosen]
    expected = evaluate.run(graph, inputs)

    def write(folder: Path) -> None:
        (folder / "firmware").mkdir()
        facts = target.emit(graph, folder / "firmware", options)
        target.write_testbench(graph, folder / "firmware", facts, inputs[:TESTBENCH])
        (folder / "model").mkdir()
        for name in model.framework.files:
            shutil.copyfile(model.folder / name, folder / "model" / name)
        np.savez_compressed(folder / VECTORS, inputs=inputs, labels=labels, expected=expected)
        (folder / "graph.json").write_text(json.dumps(to_record(graph)) + "\n")
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        manifest = Manifest(
            kind=target.name,
            revision=target.revision,
            name=out.name,
            model=graph.name,
            graph=graph.digest,
            options=asdict(options),
            facts=facts,
            versions={"edgephys": __version__} | {name: version(name) for name in target.packages},
            files={str(path.relative_to(folder)): _digest(path) for path in files},
        )
        (folder / MANIFEST).write_text(json_text(manifest.to_record()))
        target.write_example(folder, graph.name, facts, _example(model, inputs, expected))  # no file of the manifest

    replace_folder(out, write, MANIFEST, force, "a project")
    return read(out)


def _example(model: Model, inputs: Integers, expected: Integers) -> Example:
    """Return what an example of a project shows: vectors, and the names of inputs and outputs where the card has them.

    Names of joined inputs, which have one for each number, and of a grid's channels are no names of features.
    """
    ready, raw = model.card.standardisation, standardisation_in(model.graph)
    plain = ready is None or ready.changes_nothing
    return Example(
        inputs,
        expected,
        () if ready is None or plain else ready.names,
        tuple(model.card.classes) if model.graph.output.shape == (len(model.card.classes),) else (),
        standardised=not plain,
        grids=() if raw is None else raw.grids,
    )


def read(folder: Path) -> Project:
    """Return the project in ``folder``; raise ProjectError saying what is missing or malformed."""
    if not (folder / MANIFEST).is_file():
        makes = command("emit", "MODEL", "--to", "TARGET", "--out", folder)
        raise ProjectError(f"{folder}: expected a project with {MANIFEST}; {makes} makes one")
    try:
        manifest = Manifest.of_record(read_json(folder / MANIFEST))
        graph = require_proven(from_record(read_json(folder / "graph.json")))
        if manifest.kind not in TARGETS or manifest.graph != graph.digest:
            raise ValueError("kind or graph do not agree")
    except (*UNREADABLE, ModelError) as error:
        raise ProjectError(
            f"{folder}: manifest or graph is missing or damaged ({fault(error)}); {emit_again(folder)}"
        ) from error
    return Project(folder, manifest, graph)


def read_vectors(project: Project) -> Vectors:
    """Return a project's vectors; raise ProjectError where there are none, or arrays of other shapes."""
    graph = project.graph
    return vectors_file.read_vectors(project.folder / VECTORS, graph.input.shape, graph.output.shape)


def read_card(project: Project) -> Card:
    """Return the card of the project's model; raise ModelError where it is missing or damaged."""
    return card_file.read_card(project.model, emit_again(project.folder))


def write_result(project: Project, name: str, record: Mapping[str, Any], state: str) -> None:
    """Write a result, with the ``state`` for which it is valid: that of the project before the run."""
    write_json(_result(project, name), {"state": state, **record})


def read_result(project: Project, name: str) -> dict[str, Any] | None:
    """Return a result that is valid for the project as it is now; None where there is none."""
    path = _result(project, name)
    if not path.is_file():
        return None
    try:
        record = read_json(path)
    except ValueError as error:
        raise ProjectError(f"{path}: expected JSON, found {error}; {_written_again(project, name)}") from error
    if not isinstance(record, dict):
        raise ProjectError(
            f"{path}: expected a record of ours, found {type(record).__name__}; {_written_again(project, name)}"
        )
    return record if record.get("state") == project.state() else None


def _written_again(project: Project, name: str) -> str:
    """Return how a damaged result is replaced: by the command that writes it."""
    words = OF_COMMANDS.get(name)
    return "remove it" if words is None else f"remove it; this writes it again: {command(*words, project.folder)}"


def drop_result(project: Project, name: str) -> None:
    """Remove a result, where there is one."""
    _result(project, name).unlink(missing_ok=True)


def _result(project: Project, name: str) -> Path:
    return project.folder / "results" / f"{name}.json"
