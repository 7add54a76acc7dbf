"""Compare every target with the golden model, bit for bit, on held-out vectors and on vectors generated for the Graph.

These must agree on every output integer: the outputs that are stored in the project, the framework that the model came
from, a second plain evaluation of the Graph, the golden model, and the emitted sources in every way that their target
runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core.beside import beside
from edgephys.core.errors import MismatchError, ProjectError, ToolError
from edgephys.core.fixed import Integers
from edgephys.core.remaining import TimedSteps
from edgephys.graph import evaluate, stimuli
from edgephys.graph.coverage import Coverage, coverage_of
from edgephys.graph.graph import Graph, to_record
from edgephys.models.card import changed_files
from edgephys.models.frameworks import framework_of
from edgephys.models.raw_inputs import reference as reference_of
from edgephys.models.vectors import Vectors
from edgephys.project import (
    FILE_VERIFICATION,
    VERIFICATION,
    Project,
    drop_result,
    read_card,
    read_result,
    read_vectors,
    write_result,
)
from edgephys.targets.emit_again import emit_again
from edgephys.targets.fpga import STREAM
from edgephys.targets.target import Lint, OtherRun, Proof, Ran
from edgephys.verify import plain
from edgephys.verify.compare import Comparison, Expected, Layers, Mismatch, difference, first_difference
from edgephys.verify.score import ScoreCheck
from edgephys.verify.score import check as check_score

Say = Callable[[str], None]

PLAIN_PRODUCTS = 1 << 22
"""Most products and elements that the plain evaluation computes: a second or so."""
PROBED_ELEMENTS = 1 << 23
"""Most elements of all edges on which the layers of the emitted sources are compared."""
COVERED_ELEMENTS = 1 << 27
"""Most elements of all edges on which the coverage is counted."""


@dataclass(frozen=True)
class Verified:
    """State how every program compared on the same vectors.

    ``vectors`` are the project's or a file's, with ``outputs`` integers; ``generated`` ones were generated for the
    Graph.
    """

    project: str
    vectors: int
    outputs: int
    targets: Mapping[str, Comparison]
    changed: tuple[str, ...] = ()
    generated: int = 0
    coverage: Coverage | None = None
    lints: tuple[Lint, ...] = ()
    score: ScoreCheck | None = None
    failures: tuple[str, ...] = field(default=())
    proofs: tuple[Proof, ...] = ()
    warnings: tuple[str, ...] = ()
    folder: Path | None = None

    def __repr__(self) -> str:
        """Return a line: what was compared, and what came of it."""
        wrong = len(self.failures) + bool(first_finding(self.lints))
        more = f", {wrong} other failures" if wrong else ""
        vectors = f"{self.vectors:,} vectors and {self.generated:,} generated"
        return f"Verified({self.project}: {', '.join(self.targets)}; {vectors}, {self.mismatches:,} mismatches{more})"

    @property
    def mismatches(self) -> int:
        """Outputs that differ, over all targets."""
        return sum(target.mismatches for target in self.targets.values())

    def require(self) -> None:
        """Raise MismatchError naming the first layer that differs, or what else does not hold."""
        hint = _hint(self.changed, self.folder)
        finding = first_finding(self.lints)
        for name, target in self.targets.items():
            if target.mismatches:
                outputs = target.outputs or self.outputs // self.vectors * (target.vectors + target.generated)
                raise MismatchError(
                    f"{self.project}: {name}: {target.first} ({target.mismatches} of {outputs} outputs differ)"
                    + (f"; {finding}" if finding else "")
                    + hint
                )
        if finding:
            raise MismatchError(f"{self.project}: {finding}{hint}")
        if self.failures:
            raise MismatchError(f"{self.project}: {self.failures[0]}{hint}")
        if self.changed:
            raise MismatchError(f"{self.project}: no output differs on these vectors{hint}")

    def to_record(self) -> dict[str, Any]:
        """Return the record of the JSON contract."""
        return {
            "project": self.project,
            "vectors": self.vectors,
            "generated": self.generated,
            "outputs": self.outputs,
            "mismatches": self.mismatches,
            "changed": list(self.changed),
            "targets": {name: comparison.to_record() for name, comparison in self.targets.items()},
            "coverage": None if self.coverage is None else self.coverage.to_record(),
            "lint": [lint.to_record() for lint in self.lints],
            "score": None if self.score is None else self.score.to_record(),
            "failures": list(self.failures),
            "proofs": [proof.to_record() for proof in self.proofs],
            **({"warnings": list(self.warnings)} if self.warnings else {}),
        }


def _hint(changed: Sequence[str], folder: Path | None) -> str:
    """Return which emitted files were changed, and what to do; nothing where none was."""
    if not changed:
        return ""
    return f"; changed since its emission: {', '.join(changed[:3])}; restore it, or {emit_again(folder)}"


def verify(
    project: Project,
    vectors: Vectors | None = None,
    say: Say | None = None,
    file: str | None = None,
    netlist: bool = False,
) -> Verified:
    """Compare every program on the project's vectors, or on others, and on vectors generated for the Graph.

    ``file`` names the file of the others; ``netlist`` simulates the synthesised netlist, too. The result is kept in the
    project, apart from that of other vectors of no file, for the state in which the project was at the start.
    Raises: ProjectError without vectors or with fewer outputs than vectors; ToolError where a simulation cannot run.
    A difference is in the record: ``require`` raises for it.
    """
    say = say or (lambda _: None)
    state, changed = project.state(), project.changed()
    if changed:
        say(f"changed since its emission: {', '.join(changed[:3])}")
    firmware = project.firmware  # scanned here, before anything runs
    with project.using_facts():
        others = project.target.other_runs(project.emitted, netlist)  # refused before any work
    name = VERIFICATION if vectors is None else FILE_VERIFICATION if file is not None else None
    earlier = None if name is None else _earlier_steps(project, name)
    if name is not None:
        drop_result(project, name)
    own = vectors or read_vectors(project)
    if not len(own.inputs):
        raise ProjectError(f"{project.folder}: expected at least 1 vector, found 0; nothing can be verified with none")
    say = steps = TimedSteps(say, 5 + len(others), earlier)
    say(f"golden model, {len(own.inputs)} vectors")
    expected = _expected(project.graph, own.inputs)
    targets = {} if own.expected is None else {"golden": _stored(expected, own.expected)}
    failures: list[str] = []
    with beside([partial(_other, project, expected, other) for other in others if other.beside]) as running:
        say("plain evaluation")
        targets["plain"] = _plain(expected)
        card = read_card(project)
        warnings = tuple(one.describe() for one in card.approximated)
        targets |= _framework(project, expected, say)
        lints = _lints(project, say)
        say(project.target.doing)
        targets |= _emitted(project, firmware, expected, lints)
        failures += changed_files(card, project.model)
        results = iter(running)
        for other in others:
            say(other.doing)
            try:
                targets[other.name] = next(results).result() if other.beside else _other(project, expected, other)
            except MismatchError as error:
                failures.append(f"{other.name}: {error}")
    with project.using_facts():
        proofs = tuple(project.target.proofs(project.emitted, say)) if netlist else ()
    failures += [f"{proof.netlist}: {proof.module}: {proof.why}" for proof in proofs if proof.holds is False]
    score = None
    if vectors is None:  # a file of other data has another score
        score = check_score(card, project.graph, own, expected.outputs[: expected.own])
    verified = Verified(
        project.name,
        len(own.inputs),
        len(own.inputs) * prod(project.graph.output.shape),
        targets,
        changed,
        len(expected.inputs) - len(own.inputs),
        _coverage(expected),
        lints,
        score,
        (*failures, *(() if score is None else score.failures)),
        proofs,
        warnings,
        project.folder,
    )
    if name is not None:
        of_file = {} if file is None else {"file": file}
        write_result(project, name, of_file | verified.to_record() | {"steps": steps.durations()}, state)
    return verified


def _earlier_steps(project: Project, name: str) -> Any:
    """Return how long each step of the last verification of these sources took; None where nothing tells it."""
    try:
        return (read_result(project, name) or {}).get("steps")
    except ProjectError:  # a damaged result, which this verification replaces
        return None


def _framework(project: Project, expected: Expected, say: Say) -> dict[str, Comparison]:
    """Compare the framework that the model came from with the golden model."""
    framework = framework_of(project.model)
    say(framework.title)
    reference = reference_of(framework, project.model, project.graph)
    return {framework.name: expected.compared(framework.name, reference.outputs(expected.inputs), reference.layers)}


def _lints(project: Project, say: Say) -> tuple[Lint, ...]:
    """Return what tools that only read the sources object to."""
    say("rules of synthesis")
    with project.using_facts():
        lints = tuple(project.target.lint(project.emitted))
    return lints


def first_finding(lints: Sequence[Lint]) -> str | None:
    """Return the first finding as a line: tool, file, line and rule; None where there is none."""
    findings = [f"{lint.tool}: {line}" for lint in lints for line in lint.findings]
    return f"{findings[0]} ({len(findings)} in all)" if findings else None


def _expected(graph: Graph, own: Integers) -> Expected:
    """Return the vectors to compare on, with the golden model's outputs."""
    inputs = np.concatenate([own, stimuli.make(graph)])
    return Expected(graph, inputs, evaluate.run(graph, inputs), len(own))


def _stored(expected: Expected, stored: Integers) -> Comparison:
    """Compare the golden model with the stored outputs; where they differ, vectors.npz is at fault and no layer."""
    golden = expected.outputs[: expected.own]
    count = difference("golden", golden, stored)
    first = first_difference(expected.graph.output.layer, stored, golden) if count else None
    return Comparison(len(golden), count, first)


def _plain(expected: Expected) -> Comparison:
    """Compare the golden model with the plain evaluation, on as many vectors as it computes in a second or so."""
    graph, record = expected.graph, to_record(expected.graph)
    rows = {node.name: prod(node.shape[:-1]) for node in graph.nodes}
    products = sum(max(prod(node.shape), rows[node.name] * node.op.parameter_count) for node in graph.nodes)
    part = expected.part(PLAIN_PRODUCTS // products + 2)

    def layers(inputs: Integers) -> Mapping[str, Integers]:
        edges = plain.trace(record, inputs)
        return {layer: edges[node.name].astype(np.int64) for layer, node in graph.layers()}

    return part.compared("plain", layers(part.inputs)[graph.output.layer], layers)


def _emitted(project: Project, firmware: Path, expected: Expected, lints: Sequence[Lint]) -> dict[str, Comparison]:
    """Compare the emitted sources with the golden model, and every layer of theirs where that takes little time.

    Raises: MismatchError with the first finding of the lints, where the sources fail and one is there.
    """
    target = project.target

    def layers(inputs: Integers) -> Mapping[str, Integers]:
        return target.probe(firmware, project.facts, inputs)

    try:
        with project.using_facts():
            ran = _ran(project, firmware, expected, layers)
            compared = {target.checked: expected.compared(target.checked, ran.outputs, layers, ran.facts)}
            if target.probes_cheaply:
                elements = sum(prod(node.shape) for node in project.graph.nodes)
                part = expected.part(PROBED_ELEMENTS // elements + 2)
                compared[f"{target.checked}_layers"] = part.every_layer(layers)
    except (MismatchError, ToolError) as error:
        line = first_finding(lints)
        if line is None:
            raise
        raise MismatchError(f"{project.name}: {line}{_hint(project.changed(), project.folder)}") from error
    return compared


def _ran(project: Project, firmware: Path, expected: Expected, layers: Layers) -> Ran:
    """Run the emitted sources.  Raises: MismatchError with the first layer that differs, for a stream that fails."""
    try:
        return project.target.run(firmware, project.facts, expected.inputs)
    except MismatchError as error:
        if project.facts.get("io") != STREAM:  # its probe is timed, and fails in the same way
            raise
        first: Mismatch | None = expected.first_layer(layers)
        raise MismatchError(f"{project.name}: {error}" + (f"; {first}" if first else "")) from error


def _other(project: Project, expected: Expected, other: OtherRun) -> Comparison:
    part = expected.part(other.most)
    with project.using_facts():
        if other.golden is not None:
            part = replace(part, outputs=other.golden(part.inputs))
        ran = other.run(part.inputs)
        return part.compared(other.name, ran.outputs, other.probe, ran.facts)


def _coverage(expected: Expected) -> Coverage:
    """Return what the vectors reach, counted on as many of them as a few seconds allow."""
    elements = sum(prod(node.shape) for node in expected.graph.nodes)
    return coverage_of(expected.graph, expected.part(COVERED_ELEMENTS // elements + 1).inputs)
