"""Import a file that is lowered: prove its Graph against the file, score it, and write the model's folder.

All frameworks share it: the inputs that are drawn, the comparison with the file, the score on answers and the card.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgephys import __version__
from edgephys.core.errors import MismatchError, UsageError
from edgephys.core.files import replace_folder
from edgephys.core.fixed import Integers
from edgephys.graph import evaluate, stimuli
from edgephys.graph.graph import Graph
from edgephys.models import numbers, units
from edgephys.models.card import Card, ImportedFile, with_softmaxes, write_card
from edgephys.models.files.softmax import MeasuredSoftmax
from edgephys.models.import_plan import ImportPlan
from edgephys.models.input_data import accuracy, classes_of, misfit, most_random, targets_of
from edgephys.models.model import Framework, Imported, Model, Reference
from edgephys.models.vectors import HELD_OUT, HeldOut

MOST_ELEMENTS = 1 << 28
"""Elements of all random inputs together."""


class FileReference(Reference, Protocol):
    """Compute the integers of an imported file, and how far its softmaxes are from those of the Graph."""

    def softmaxes(self, inputs: Integers) -> tuple[MeasuredSoftmax, ...]:
        """Return each softmax that is computed with its largest difference to the file's float softmax."""


@dataclass(frozen=True, eq=False)
class LoweredFile:
    """Hold the Graph of a file, and what a framework knows of it.

    ``program`` is what the Graph is compared with, in messages. ``only_classes``: what was left out at the end keeps
    the order of the outputs alone. ``in_single`` says how a run in float32 differs where the reference is in float64.
    ``facts`` are those of the card that the file itself states, ``versions`` those of the tools. ``write`` writes the
    framework's own files into a folder; one that has the file ``mark`` is ``what`` of ours, and may be replaced.
    """

    graph: Graph
    reference: FileReference
    framework: Framework
    program: str
    only_classes: bool
    in_single: Callable[[Integers, Integers], Sequence[str]]
    facts: Mapping[str, Any]
    versions: Mapping[str, str]
    write: Callable[[Path], None]
    mark: str
    what: str


@dataclass(frozen=True, eq=False)
class Examples:
    """Hold inputs of a user, in steps, and the answers.  Shape: inputs (example, *input shape of the Graph)."""

    inputs: Integers
    answers: NDArray[Any] | None


def import_lowered(
    file: LoweredFile, examples: Examples | None, out: Path, plan: ImportPlan, warnings: Sequence[str]
) -> Imported:
    """Prove a Graph against its file on examples, or else random inputs, and on generated ones; write the folder.

    Raises: MismatchError where the Graph computes other integers than the file; UsageError for a wrong count, and where
    ``out`` is not ours. Nothing is written then.
    """
    graph, warnings = file.graph, list(warnings)
    inputs = random_inputs(graph, plan, warnings) if examples is None else examples.inputs
    outputs = _proven(file, inputs)
    warnings += file.in_single(inputs, outputs)
    generated = stimuli.make(graph)
    _proven(file, generated)
    approximated = file.reference.softmaxes(np.concatenate([inputs, generated]))
    warnings += [one.describe() for one in approximated]
    labels, metrics = _scored(file, None if examples is None else examples.answers, outputs, warnings)
    own = outputs.argmax(-1) if outputs.ndim == 2 else outputs
    held_out = HeldOut(inputs, own if labels is None else labels)
    card = _card(file, plan.seed if examples is None else None, metrics, outputs)
    card = with_softmaxes(card, plan.softmax, approximated)

    def write(folder: Path) -> None:
        file.write(folder)
        np.savez_compressed(folder / HELD_OUT, inputs=held_out.inputs, labels=held_out.labels)
        write_card(card, folder)

    replace_folder(out, write, file.mark, plan.force, file.what)
    return Imported(Model(out, graph, held_out, card, file.framework), tuple(warnings))


def random_inputs(graph: Graph, plan: ImportPlan, warnings: list[str]) -> Integers:
    """Return random inputs; among many are the ends of the format.  Raises: UsageError for a wrong count."""
    fixed, shape = graph.input.fixed, graph.input.shape
    if plan.count < 1:
        raise UsageError(f"--count must be 1 or more, not {plan.count}")
    if plan.count * prod(shape) > MOST_ELEMENTS:
        most = MOST_ELEMENTS // prod(shape)
        raise UsageError(f"--count must be at most {most} for inputs of {shape}, not {plan.count}")
    count = most_random(graph, plan.count, warnings)
    x = np.random.default_rng(plan.seed).integers(fixed.low, fixed.high, (count, *shape), endpoint=True)
    if count >= stimuli.FEWEST:  # else they are among the generated vectors alone
        x[0], x[-1] = fixed.low, fixed.high  # corners, where sums are widest
    return x


def _proven(file: LoweredFile, inputs: Integers) -> Integers:
    """Return the file's outputs; raise MismatchError naming the first layer where the Graph differs from them."""
    graph, outputs, golden = file.graph, file.reference.outputs(inputs), evaluate.run(file.graph, inputs)
    if golden.shape != outputs.shape:
        raise MismatchError(
            f"graph '{graph.name}': expected outputs of the shape that {file.program} has, {outputs.shape[1:]} of "
            f"{len(outputs)} vectors, found {golden.shape[1:]} of {len(golden)}; this is a fault of ours: report it "
            f"with the file"
        )
    wrong = np.flatnonzero((golden != outputs).reshape(len(inputs), -1).any(1))
    if not wrong.size:
        return outputs
    first = inputs[wrong[:1]]
    edges, layers = evaluate.trace(graph, {graph.input.name: first}), file.reference.layers(first)
    ends = dict(graph.layers())
    layer = next((name for name in ends if name in layers and np.any(layers[name] != edges[ends[name].name])), None)
    raise MismatchError(
        f"graph '{graph.name}': layer '{layer or graph.output.layer}' differs first from {file.program}, in "
        f"{wrong.size} of {len(inputs)} vectors, the first {wrong[0]}; this is a fault of ours: report it with the file"
    )


def _scored(
    file: LoweredFile, answers: NDArray[Any] | None, outputs: Integers, warnings: list[str]
) -> tuple[NDArray[Any] | None, dict[str, Any]]:
    """Return the labels of the examples and the metrics: of classes, or of numbers; none where no answers fit."""
    if answers is None:
        return None, {}
    classes = classes_of(answers, outputs.shape)
    if classes is not None:
        return classes, accuracy(units.as_logits(file.graph, outputs), classes)
    targets = None if file.only_classes else targets_of(answers, outputs)
    if targets is None:
        warnings.append(f"{misfit(answers, outputs.shape, file.only_classes)}: no score is stated")
        return None, {}
    values = units.values_of(file.graph, outputs).reshape(len(outputs), -1)
    return targets, numbers.evaluated(np.asarray(values, np.float64), targets, "examples")


def _card(file: LoweredFile, seed: int | None, metrics: Mapping[str, Any], outputs: Integers) -> Card:
    """Return the card: the keys of a trained model's card, and where this model came from."""
    graph = file.graph
    return Card(
        name=graph.name,
        seed=seed,
        classes=[str(at) for at in range(outputs.shape[-1])] if outputs.ndim == 2 else [],
        parameters=sum(node.op.parameter_count for node in graph.nodes),
        metrics=metrics,
        recipe={},
        standardisation=None,
        versions={"edgephys": __version__, **file.versions},
        imported=ImportedFile(
            **file.facts,
            vectors=f"{len(outputs)}, {'random' if seed is not None else 'given'}",
            labels="given" if metrics else "what the file itself answers",
            outputs_compared=int(outputs.size),
            mismatches=0,
        ),
    )
