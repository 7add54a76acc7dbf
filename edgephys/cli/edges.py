"""The command that shows what a network of learnt tables computes: a picture of its edges, or their symbolic forms."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Annotated

import typer

from edgephys.cli.console import bar, give, say
from edgephys.cli.firmware import loaded
from edgephys.cli.words import MOST, Json, ModelFolder, line


def draw(
    model: ModelFolder,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Picture, .png or .svg; with --forms OUT.json, OUT.md, OUT.csv and OUT.tex."),
    ] = None,
    forms: Annotated[
        bool, typer.Option("--forms", help="Name the tables that a short form equals, in a table.")
    ] = False,
    within: Annotated[
        float, typer.Option(min=0.5, max=4, help="Largest error of a form, in steps of the table; 0.5: by rounding.")
    ] = 1.0,
    vectors: Annotated[int, typer.Option(min=1, max=MOST, help="Held-out vectors that shares are measured on.")] = 2000,
    as_json: Json = False,
) -> None:
    """Draw the learnt function of each edge of a network of tables: neurons by inputs for each layer.

    The number in a cell is the share of decisions that the edge carries: of the held-out vectors whose predicted class
    changes when the edge's table is replaced by its mean over these vectors. The edges of a layer of more than 512 are
    drawn in order of this share, as many as 512. With --forms the tables that a constant, a line, a step, a ReLU, an
    absolute value, a polynomial of degree 2 or 3 or a logarithm equals are listed.

    \b
    Example: edgephys draw runs/tables --out runs/tables_edges.svg
    Example: edgephys draw runs/tables --forms --out runs/tables_forms
    """
    from edgephys.core.files import check_writable, write_file
    from edgephys.report import edges
    from edgephys.report.edges_picture import drawn, require_picture
    from edgephys.report.render import writer

    write = writer(out if forms else None, edges.forms_table)
    if out is not None and not forms:
        check_writable(out)
        require_picture(out)
    network = loaded(model)
    tables = edges.tables_of(network)
    with bar("edges", sum(prod(layer.shape) for layer in tables)) as tick:
        layers = edges.drawn_layers(network, tables, vectors, tick)
    count = edges.vectors_of(network, vectors)
    if forms:
        record = edges.forms_record(network, layers, within, count, line())
        write(record)
        give(as_json, record, lambda: edges.forms_table(record))
        return
    rows = edges.layer_rows(layers)
    if out is not None:
        write_file(out, drawn(layers, network.name, edges.caption(layers, count), out.suffix))
        say(f"drawn: {out}")
    record = {"model": str(model), "vectors": count, "layers": rows, "edges": edges.edge_rows(layers)}
    give(as_json, record, lambda: edges.layers_table(network.name, rows, count))
