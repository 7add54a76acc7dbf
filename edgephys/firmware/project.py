"""A project folder: emitted sources with all that is needed to check them again, on any machine.

::

    edgephys.json   what it is: kind, options, facts of the emission, versions, hashes
    graph.json      the Graph that was emitted
    vectors.npz     held-out inputs, labels and the golden model's outputs
    model/          the trained model, card and all
    firmware/       the sources
    results/        what verify and report found, each with the hash of the sources it holds for
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.artefact import CARD, MODEL, integers, load_vectors, replace_folder, write_file
from edgephys.artefact import VECTORS as HELD_OUT
from edgephys.errors import ModelError, ProjectError, UsageError
from edgephys.firmware import hls, rtl
from edgephys.firmware.tools import content_key
from edgephys.fixed import Integers
from edgephys.lower import evaluate
from edgephys.lower.graph import Graph, from_record, to_record
from edgephys.lower.ranges import require_proven

MANIFEST = "edgephys.json"
FORMAT = 1
KINDS = ("hls", "rtl")
TESTBENCH = 100
"""Vectors for the vendor's own test bench of an HLS project."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """Hold inputs (vector, *input shape), labels (vector,) and expected outputs (vector, *output shape)."""

    inputs: Integers
    labels: NDArray[np.int64]
    expected: Integers


@dataclass(frozen=True, eq=False)
class Project:
    """Name a project folder and hold its manifest and Graph."""

    folder: Path
    manifest: Mapping[str, Any]
    graph: Graph

    @property
    def name(self) -> str:
        """Name of the project."""
        return str(self.manifest["name"])

    @property
    def kind(self) -> str:
        """Either 'hls' or 'rtl'."""
        return str(self.manifest["kind"])

    @property
    def facts(self) -> dict[str, Any]:
        """What the emission stated of itself."""
        return dict(self.manifest["facts"])

    @property
    def clock_ns(self) -> float:
        """The clock that the project was emitted for."""
        return float(self.manifest["options"]["clock_ns"])

    @property
    def part(self) -> str:
        """The part that the project was emitted for."""
        return str(self.manifest["options"]["part"])

    @property
    def firmware(self) -> Path:
        """Folder of the sources."""
        return self.folder / "firmware"

    @property
    def model(self) -> Path:
        """Folder of the trained model."""
        return self.folder / "model"

    def sources_key(self) -> str:
        """Return the hash of the sources as they are now."""
        return content_key([self.firmware])

    def untouched(self) -> bool:
        """Tell whether the sources are as they were emitted."""
        return bool(self.sources_key() == self.manifest["sources"])


def emit(
    graph: Graph,
    model: Path,
    options: hls.HlsOptions | rtl.RtlOptions,
    out: Path,
    force: bool = False,
    vectors: int | None = None,
) -> Project:
    """Write a project folder, replacing a former one of ours atomically.

    Raises: UsageError where ``out`` is not ours or an option is out of range; ModelError where the
    graph has no exact firmware; ProjectError where the model has no held-out vectors.
    """
    kind = "hls" if isinstance(options, hls.HlsOptions) else "rtl"
    held_out = load_vectors(model / HELD_OUT)
    if vectors is not None and not 1 <= vectors <= len(held_out.inputs):
        raise UsageError(f"vectors must be 1..{len(held_out.inputs)} (what the model carries), not {vectors}")
    inputs, labels = held_out.inputs[:vectors], held_out.labels[:vectors]
    expected = evaluate.run(graph, inputs)

    def write(folder: Path) -> None:
        (folder / "firmware").mkdir()
        emitter = hls.emit if isinstance(options, hls.HlsOptions) else rtl.emit
        facts = emitter(graph, folder / "firmware", options)  # type: ignore[arg-type]
        if kind == "hls":
            hls.write_testbench(graph, folder / "firmware", inputs[:TESTBENCH])
        (folder / "model").mkdir()
        for name in (MODEL, CARD):
            shutil.copyfile(model / name, folder / "model" / name)
        np.savez_compressed(folder / "vectors.npz", inputs=inputs, labels=labels, expected=expected)
        (folder / "graph.json").write_text(json.dumps(to_record(graph)) + "\n")
        manifest = {
            "format": FORMAT,
            "kind": kind,
            "name": out.name,
            "model": graph.name,
            "graph": graph.digest,
            "options": asdict(options),
            "facts": facts,
            "versions": {name: importlib.metadata.version(name) for name in ("edgephys", "hls4ml", "alkaid")},
            "sources": content_key([folder / "firmware"]),
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")

    replace_folder(out, write, MANIFEST, force, "a project")
    return read(out)


def read(folder: Path) -> Project:
    """Return the project in ``folder``; raise ProjectError saying what is missing or malformed."""
    if not (folder / MANIFEST).is_file():
        raise ProjectError(f"{folder}: expected a project with {MANIFEST}; `edgephys emit` makes one")
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        graph = require_proven(from_record(json.loads((folder / "graph.json").read_text())))
        if manifest["format"] != FORMAT or manifest["kind"] not in KINDS or manifest["graph"] != graph.digest:
            raise ValueError("format, kind or graph do not agree")
    except (OSError, ValueError, KeyError, TypeError, ModelError) as error:
        raise ProjectError(f"{folder}: manifest or graph is missing or damaged ({error}); emit it again") from error
    return Project(folder, manifest, graph)


def read_vectors(project: Project) -> Vectors:
    """Return a project's vectors; raise ProjectError where none are there or outputs are fewer than inputs."""
    path = project.folder / "vectors.npz"
    found = Vectors(*integers(path, ("inputs", "labels", "expected")))
    if not len(found.inputs):
        raise ProjectError(f"{path}: expected at least 1 vector, found 0; nothing can be verified with none")
    if len(found.expected) != len(found.inputs) or found.expected.shape[1:] != project.graph.output.shape:
        raise ProjectError(
            f"{path}: expected {len(found.inputs)} outputs of shape {project.graph.output.shape}, "
            f"found {len(found.expected)} of {found.expected.shape[1:]}"
        )
    return found


def write_result(project: Project, name: str, record: Mapping[str, Any]) -> None:
    """Keep what a command found, with the hash of the sources that it holds for."""
    body = {"sources": project.sources_key(), **record}
    write_file(project.folder / "results" / f"{name}.json", (json.dumps(body, indent=1) + "\n").encode())


def read_result(project: Project, name: str) -> dict[str, Any] | None:
    """Return what a command found for the sources as they are now; None where it did not run on them."""
    path = project.folder / "results" / f"{name}.json"
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise ProjectError(f"{path}: expected JSON, found {error}; run the command again") from error
    return dict(record) if record.get("sources") == project.sources_key() else None
