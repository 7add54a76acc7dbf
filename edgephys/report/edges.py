"""Declare what `edgephys draw` shows: the layers of a network of learnt tables, their edges, and forms of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgephys.core import machine
from edgephys.core.errors import ModelError
from edgephys.graph.edge_shares import Progress, decision_shares
from edgephys.graph.table_layers import TableLayer, reads_the_input, table_layers
from edgephys.models.model import Model
from edgephys.report.edges_picture import DrawnLayer, InputAxis, axes_of
from edgephys.report.table import Column, Row, Table, percent, written
from edgephys.report.table_forms import form_of

DEFINITION = (
    "share: of the held-out vectors whose predicted class changes when the edge's table is replaced by its mean over "
    "these vectors"
)


def tables_of(model: Model) -> list[TableLayer]:
    """Return the layers of tables of a model.  Raises: ModelError for a model without tables."""
    layers = table_layers(model.graph)
    if not layers:
        raise ModelError(
            f"model '{model.name}': draw shows networks of learnt tables (TableDense, as models/jet_tables.py trains "
            "them), and it has none; `edgephys explain MODEL --svg FILE` draws the layers of any network"
        )
    return layers


def drawn_layers(
    model: Model, layers: Sequence[TableLayer], count: int, progress: Progress | None = None
) -> list[DrawnLayer]:
    """Return layers of tables with the share of decisions of each edge on a model's first vectors.

    A model without classes has no decisions; its shares are NaN.
    """
    graph = model.graph
    if model.card.classes:
        shares = decision_shares(graph, layers, model.held_out.inputs[:count].astype(np.int64), progress)
    else:
        shares = [np.full(layer.shape, np.nan) for layer in layers]
    return [
        DrawnLayer(layer, share, _axes(model, layer), _neurons(model, layer))
        for layer, share in zip(layers, shares, strict=True)
    ]


def _axes(model: Model, layer: TableLayer) -> tuple[InputAxis, ...]:
    ready = model.card.standardisation
    if ready is not None and reads_the_input(model.graph, layer) and len(ready.names) == layer.shape[0]:
        return axes_of(layer, ready.names, ready)
    return axes_of(layer, [str(channel) for channel in range(layer.shape[0])], None)


def _neurons(model: Model, layer: TableLayer) -> tuple[str, ...]:
    """Return the names of a layer's neurons: classes at the end, else their numbers."""
    is_last = layer.sums.name == model.graph.output.name and len(model.card.classes) == layer.shape[1]
    return tuple(model.card.classes) if is_last else tuple(str(neuron) for neuron in range(layer.shape[1]))


def vectors_of(model: Model, count: int) -> int:
    """Return the number of vectors that shares are measured on; 0 for a model without classes."""
    return min(count, len(model.held_out.inputs)) if model.card.classes else 0


def caption(layers: Sequence[DrawnLayer], vectors: int) -> str:
    """Return what a reader of the picture must know."""
    number = f"number and colour of a cell: share of decisions in %, on {vectors:,} held-out vectors"
    lines = [
        number if vectors else "the model has no classes, so that no share of decisions is measured",
        *([DEFINITION] if vectors else []),
        "x: the values that the input can have, in the first layer in units of the feature; a pruned edge is blank",
    ]
    left_out = [f"{of.left_out} of {of.layer.name}" for of in layers if of.left_out]
    return "\n".join([*lines, *([f"not drawn, for they carry less: {', '.join(left_out)}"] if left_out else [])])


def layer_rows(layers: Sequence[DrawnLayer]) -> list[Row]:
    """Return a row a layer."""
    rows: list[Row] = []
    for drawn in layers:
        inputs, neurons = drawn.layer.shape
        edges, first = drawn.edges, next(iter(drawn.edges), None)
        rows.append(
            {
                "layer": drawn.layer.name,
                "inputs": inputs,
                "neurons": neurons,
                "edges": len(edges) + drawn.left_out,
                "drawn": len(edges),
                "without_decisions": int(np.sum(drawn.shares[~drawn.layer.pruned] == 0)),
                "largest": None if first is None else _name(drawn, *first),
                "largest_share": None if first is None else _share(drawn, *first),
            }
        )
    return rows


def edge_rows(layers: Sequence[DrawnLayer]) -> list[Row]:
    """Return a row an edge that is not pruned."""
    return [
        {**_name_of(drawn, int(channel), int(neuron)), "share": _share(drawn, int(channel), int(neuron))}
        for drawn in layers
        for channel, neuron in zip(*np.nonzero(~drawn.layer.pruned), strict=True)
    ]


def _name_of(drawn: DrawnLayer, channel: int, neuron: int) -> dict[str, str]:
    names = {"input": drawn.axes[channel].name, "neuron": drawn.neurons[neuron]}
    return {"layer": drawn.layer.name, **names}


def _name(drawn: DrawnLayer, channel: int, neuron: int) -> str:
    return f"{drawn.axes[channel].name}→{drawn.neurons[neuron]}"


def _share(drawn: DrawnLayer, channel: int, neuron: int) -> float | None:
    share = float(drawn.shares[channel, neuron])
    return None if np.isnan(share) else share


def layers_table(name: str, rows: Sequence[Row], vectors: int) -> Table:
    """Declare the layers, a row each."""
    return Table(
        title=f"{name}: its layers of tables",
        columns=(
            Column("layer", "layer", left=True),
            Column("inputs", "inputs"),
            Column("neurons", "neurons"),
            Column("edges", "edges that are left"),
            Column("drawn", "drawn"),
            Column("without_decisions", "without a decision"),
            Column("largest", "largest share", left=True),
            Column("largest_share", "share", "%", percent),
        ),
        rows=rows,
        remarks=(f"{DEFINITION}; {vectors:,} vectors", "--out FILE.png or FILE.svg draws them, --forms names forms"),
    )


# Forms ------------------------------------------------------------------------------------------------


def forms_record(model: Model, layers: Sequence[DrawnLayer], within: float, vectors: int, command: str) -> Row:
    """Return the record of the forms of all tables that have one within some steps, the largest share first."""
    rows, counts = [], []
    for drawn in layers:
        own = _form_rows(drawn, within)
        counts.append({"layer": drawn.layer.name, "edges": int((~drawn.layer.pruned).sum()), "forms": len(own)})
        rows += own
    return {
        "command": command,
        "machine": machine.name(),
        "model": model.name,
        "within": within,
        "vectors": vectors,
        "layers": counts,
        "rows": sorted(rows, key=lambda row: -(row["share"] or 0)),
    }


def _form_rows(drawn: DrawnLayer, within: float) -> list[dict[str, Any]]:
    layer, rows = drawn.layer, []
    step, input_step = layer.lookup.fixed.step, layer.source.fixed.step
    for channel in range(layer.shape[0]):
        values, entries = layer.values(channel) * input_step, layer.entries(channel)
        for neuron in np.flatnonzero(~layer.pruned[channel]):
            form = form_of(np.asarray(values, np.float64), entries[:, neuron], step, within)
            if form is not None:
                stated = {"form": form.name, "expression": form.expression, "coefficients": list(form.coefficients)}
                errors = {"error_steps": form.error, "error": form.error * step, "exact": form.exact}
                share = {"share": _share(drawn, channel, int(neuron)), "entries": len(values)}
                rows.append({**_name_of(drawn, channel, int(neuron)), **share, **stated, **errors})
    return rows


def forms_table(record: Mapping[str, Any]) -> Table:
    """Declare the forms, a row an edge that has one."""
    counts = [f"{of['layer']}: {of['forms']} of {of['edges']} edges have a form" for of in record["layers"]]
    within = f"largest error at most {record['within']:g} of the table's step"
    notes = (
        f"{within}, over the values that the input can have; x: what the layer reads, after its rounding",
        "exact: the form, rounded to the step, is the table; coefficients with four digits, all of them in the JSON",
        f"{DEFINITION}; {record['vectors']:,} vectors",
    )
    return Table(
        title=f"{record['model']}: forms of its tables",
        columns=(
            Column("layer", "layer", left=True),
            Column("input", "input", left=True),
            Column("neuron", "neuron", left=True),
            Column("share", "share", "%", percent),
            Column("entries", "entries"),
            Column("form", "form", left=True),
            Column("expression", "y", left=True),
            Column("error_steps", "largest error", "steps", written(".2f")),
            Column("error", "largest error", text=written(".2g")),
            Column("exact", "exact", left=True, text=lambda exact: "yes" if exact else "no"),
        ),
        rows=record["rows"],
        record=record,
        lead=(". ".join(counts) + ".",),
        notes=notes,
        remarks=(*counts, *notes),
    )
