"""Sections of a project's page on how well its outputs do: ROC curves and confusion matrix, or maps of errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.evaluation import ClassOutputs, Evaluated, NumberOutputs
from edgephys.applications.registry import of_metrics
from edgephys.core.errors import DataError, ModelError
from edgephys.project import VECTORS, Project, read_card, read_vectors
from edgephys.report.plot import COLOURS, GREY, WIDTH, panels, svg
from edgephys.report.table import Column, Drawing, Row, Table, written
from edgephys.targets.emit_again import emit_again

LEAST = 50
"""Fewest examples of a class, and of others, from which a ROC curve is drawn: with fewer, its band covers it."""
MOST_CLASSES = 10
"""Classes up to which curves and the matrix are drawn."""
SIGNAL = np.linspace(0.0, 1.0, 201)
"""Signal efficiencies at which a curve and its band are drawn."""
INNER_TEXT = 8
FIELD_AXES = 4
"""Axes of fields: (field, row, column, channel)."""

Floats = NDArray[np.floating[Any]]


def quality(project: Project) -> list[Table]:
    """Declare the sections on the golden model's outputs beside the labels that travel with a project."""
    evaluated = _evaluated(project)
    if isinstance(evaluated, str):
        return [Table(title="Quality of the outputs", lead=(f"Not measured: {evaluated}.",))]
    if isinstance(evaluated, ClassOutputs):
        return [_curves(evaluated), _confusion(evaluated)]
    return [_errors(evaluated)]


def _evaluated(project: Project) -> Evaluated | str:
    """Return outputs beside answers, or why there are none."""
    card, vectors = read_card(project), read_vectors(project)
    if VECTORS in project.changed() or vectors.expected is None:
        return f"{VECTORS} has changed since the emission; {emit_again(project.folder)}"
    if not card.metrics:
        return "no answers came with the model; `edgephys import --data` takes x and y"
    try:
        evaluated = of_metrics(card.metrics).evaluated(project.graph, vectors.expected, vectors.labels, card.scale)
    except (DataError, ModelError) as error:
        return str(error)
    if evaluated is None:
        return "the application of this model draws nothing of its outputs"
    return _doubt(evaluated) or evaluated


def _doubt(evaluated: Evaluated) -> str:
    """Return why answers cannot be compared with the outputs; nothing where they can."""
    if isinstance(evaluated, NumberOutputs):
        shapes = evaluated.outputs.shape, evaluated.answers.shape
        return "" if shapes[0] == shapes[1] else f"outputs of shape {shapes[0]} and answers of shape {shapes[1]}"
    labels, count = evaluated.labels, len(evaluated.classes)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        return f"the labels must be class numbers, one an example, not an array of shape {labels.shape}"
    if labels.min() < 0 or labels.max() >= count or evaluated.logits.shape[1] != count:
        return f"the labels must be 0..{count - 1}, not {labels.min()}..{labels.max()}"
    return f"{count} classes are too many to be drawn; {MOST_CLASSES} at most" if count > MOST_CLASSES else ""


# Classes ------------------------------------------------------------------------------------------


def _curves(classes: ClassOutputs) -> Table:
    """Declare a ROC curve a class, with the area under it where there are enough examples."""
    from edgephys.applications import metrics

    counts = np.bincount(classes.labels, minlength=len(classes.classes))
    drawn = bool(counts.min() >= LEAST)
    areas = metrics.auc(classes.logits, classes.labels, classes.classes) if drawn else {}
    rows = [
        {"class": name, "examples": int(count), "auc": areas[name].value, "auc_error": areas[name].error}
        for name, count in zip(classes.classes, counts, strict=True)
        if drawn
    ]
    why = f"Not drawn: a class has {counts.min()} examples in the project; {LEAST} at least."
    return Table(
        title="ROC curves",
        lead=(
            f"Each class against the rest, of the golden model's outputs on {len(classes.labels):,} held-out vectors "
            "that are in the project. Bands: one binomial standard error of the background's efficiency."
            if drawn
            else why,
        ),
        columns=(
            Column("class", "class", left=True),
            Column("examples", "examples"),
            Column("auc", "area under the curve", text=written(".4f"), error="auc_error"),
        ),
        rows=rows,
        pictures=(Drawing("Efficiency for others against that for the class", lambda _: _draw_curves(classes), ".svg"),)
        if drawn
        else (),
        notes=("The error of an area is that of Hanley and McNeil.",) if drawn else (),
    )


def roc_band(scores: Floats, is_signal: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the background's efficiency, and its binomial standard error, at the signal efficiencies ``SIGNAL``.

    Shape: scores (example,), is_signal (example,); results as ``SIGNAL``.
    """
    thresholds = np.quantile(scores[is_signal], 1 - SIGNAL, method="higher")
    background = np.sort(scores[~is_signal])
    passed = len(background) - np.searchsorted(background, thresholds, "left")
    share = passed / len(background)
    return share, np.sqrt(share * (1 - share) / len(background))


def _draw_curves(classes: ClassOutputs) -> bytes:
    from edgephys.applications.metrics import softmax

    scores = softmax(classes.logits)
    figure, axes = panels(WIDTH, 3.9)
    of, least = axes[0, 0], 0.5 / len(classes.labels)
    for index, name in enumerate(classes.classes):
        colour, line = COLOURS[index % len(COLOURS)], "-" if index < len(COLOURS) else "--"
        share, error = roc_band(scores[:, index], classes.labels == index)
        drawn = share > 0
        lower, upper = np.maximum(share - error, least)[drawn], (share + error)[drawn]
        of.fill_between(SIGNAL[drawn], lower, upper, color=colour, alpha=0.25, lw=0)
        of.plot(SIGNAL[drawn], share[drawn], line, color=colour, linewidth=1.3, label=name)
    of.set_yscale("log")
    of.set_xlim(0, 1)
    of.set_ylim(least, 1)
    of.set_xlabel("efficiency for the class", fontsize=9)
    of.set_ylabel("efficiency for all others", fontsize=9)
    of.grid(alpha=0.3, which="both")
    of.legend(fontsize=9, frameon=False, loc="lower right", title="class", title_fontsize=9)
    return svg(figure)


def _confusion(classes: ClassOutputs) -> Table:
    """Declare how often each class is answered with each; the shares of a row add up to 100 %."""
    count = len(classes.classes)
    counts = np.zeros((count, count), np.int64)
    np.add.at(counts, (classes.labels, classes.logits.argmax(1)), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    rows = [
        {
            "class": f"is {name}",
            "examples": int(counts[index].sum()),
            **{other: float(shares[index, column]) for column, other in enumerate(classes.classes)},
        }
        for index, name in enumerate(classes.classes)
    ]
    return Table(
        title="Confusion matrix",
        lead=("Shares of the examples of a class, a row; columns are answers, the class with the largest output.",),
        columns=(
            Column("class", "class", left=True),
            Column("examples", "examples"),
            *(_answer_column(name) for name in classes.classes),
        ),
        rows=rows,
        pictures=(
            Drawing(
                "Share of each class by answer, in percent", lambda _: _draw_matrix(shares, classes.classes), ".svg"
            ),
        ),
    )


def _answer_column(name: str) -> Column:
    def hover(row: Row) -> str:
        share, examples = float(row[name]), int(row["examples"])
        error = np.sqrt(share * (1 - share) / max(examples, 1))
        return f"{100 * share:.1f} ± {100 * error:.1f} % of {examples:,}, binomial"

    return Column(name, name, "%", written(".1f", 100), hover=hover)


def _draw_matrix(shares: Floats, classes: Sequence[str]) -> bytes:
    figure, axes = panels(4.4, 3.8)
    of, places = axes[0, 0], range(len(classes))
    of.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    for row in places:
        for column in places:
            share = float(shares[row, column])
            colour = "white" if share > 0.62 else "black"
            of.text(column, row, f"{100 * share:.1f}", ha="center", va="center", fontsize=INNER_TEXT, color=colour)
    of.set_xticks(places, classes)
    of.set_yticks(places, classes)
    of.set_xlabel("answer", fontsize=9)
    of.set_ylabel("class", fontsize=9)
    return svg(figure)


# Numbers and fields ---------------------------------------------------------------------------------


def _errors(numbers: NumberOutputs) -> Table:
    """Declare the relative error of each example by its quantiles; fields are drawn beside the true ones."""
    outputs, answers = (np.asarray(of, np.float64).reshape(len(of), -1) for of in (numbers.outputs, numbers.answers))
    sizes = np.linalg.norm(answers, axis=1)
    relative = np.linalg.norm(outputs - answers, axis=1)[sizes > 0] / sizes[sizes > 0]
    names = {"least": 0.0, "quarter": 0.25, "median": 0.5, "three quarters": 0.75, "largest": 1.0}
    rows = [{"of": name, "error": float(np.quantile(relative, at))} for name, at in names.items() if len(relative)]
    if numbers.outputs.ndim == FIELD_AXES:
        caption = "True field, output and their difference: the vector with the median error, and that with the largest"
        drawing = Drawing(caption, lambda _: _draw_fields(numbers, relative, sizes), ".svg")
    else:
        caption = "Outputs less the numbers that they should be"
        drawing = Drawing(caption, lambda _: _draw_differences(outputs - answers), ".svg")
    return Table(
        title="Errors of the outputs",
        lead=(f"Of the golden model on the {len(outputs):,} labelled vectors that are in the project.",),
        columns=(
            Column("of", "over the vectors", left=True),
            Column("error", "relative L2 error", "%", written(".3f", 100)),
        ),
        rows=rows,
        pictures=(drawing,) if rows else (),
    )


def _draw_fields(numbers: NumberOutputs, relative: Floats, sizes: Floats) -> bytes:
    order = np.flatnonzero(sizes > 0)[np.argsort(relative)]
    chosen = list(dict.fromkeys([int(order[len(order) // 2]), int(order[-1])]))
    figure, axes = panels(6.4, 1.85 * len(chosen), 3, len(chosen))
    for line, example in zip(axes, chosen, strict=True):
        true, output = numbers.answers[example, :, :, 0], numbers.outputs[example, :, :, 0]
        size = float(np.abs(true).max()) or 1.0
        difference = output - true
        limit = float(np.abs(difference).max()) or 1.0
        shown: Mapping[str, tuple[Floats, float]] = {
            f"vector {example}: true": (true, size), "output": (output, size), "difference": (difference, limit),
        }  # fmt: skip
        for of, (title, (field, bound)) in zip(line, shown.items(), strict=True):
            image = of.imshow(field, cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="nearest")
            of.set_title(title, fontsize=9)
            of.set_axis_off()
            bar = figure.colorbar(image, ax=of, fraction=0.05, pad=0.03)
            bar.ax.tick_params(labelsize=7.5)
    return svg(figure)


def _draw_differences(differences: Floats) -> bytes:
    figure, axes = panels(WIDTH, 3.0)
    of = axes[0, 0]
    of.hist(differences.ravel(), bins=60, color=COLOURS[0])
    of.set_xlabel("output less the number that it should be", fontsize=9)
    of.set_ylabel("outputs", fontsize=9)
    of.axvline(0, color=GREY, linewidth=0.8)
    return svg(figure)
