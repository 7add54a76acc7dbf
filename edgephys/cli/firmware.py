"""Commands that emit a model to a target, verify the project and measure it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgephys.cli.console import give, note, say
from edgephys.cli.words import MOST, MOST_SECONDS, MOST_SEED, Force, Json, ModelFolder, ProjectFolder, line
from edgephys.core.errors import UsageError
from edgephys.core.remedies import command

if TYPE_CHECKING:
    from edgephys.graph.graph import Graph, Node
    from edgephys.graph.interval import Range
    from edgephys.models.model import Model
    from edgephys.targets.options import Option


def explain(
    model: ModelFolder,
    edge: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Give the reason for the widths of a layer's edges, or of one edge."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="List every edge: format and reason.")] = False,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the layers into an SVG file.")] = None,
    as_json: Json = False,
) -> None:
    """Print the layers of a model's Graph: what each computes, its shape, widths, weights and proven range.

    \b
    Example: edgephys explain models/zoo/jet_deepsets_n8_8bit
    Example: edgephys explain models/zoo/jet_deepsets_n8_8bit --edge phi_1_dense
    Example: edgephys explain models/zoo/jet_deepsets_n8_8bit --svg layers.svg
    """
    from edgephys.core.files import check_writable, write_file
    from edgephys.graph.layer_summary import summaries
    from edgephys.graph.ranges import derive
    from edgephys.report.drawing import is_drawing
    from edgephys.report.drawing import svg as drawn
    from edgephys.report.explained import edge_text, layers_table, totals
    from edgephys.report.show import edges_table

    if svg is not None:
        check_writable(svg)
        if svg.exists() and not is_drawing(svg):
            raise UsageError(f"{svg} exists and is no drawing of ours: it is not replaced; choose another FILE")
    graph = loaded(model).graph
    ranges = derive(graph)
    layers = [layer.to_record() for layer in summaries(graph, ranges)]
    edges = [_edge(graph, node, ranges) for node in _nodes(graph, edge)]
    if svg is not None:
        write_file(svg, drawn(graph.name, layers).encode())
        say(f"drawn: {svg}")
    shown: list[Callable[[], Any]] = [lambda: layers_table(graph.name, layers), lambda: totals(layers, len(edges))]
    if edge is not None:
        shown = [lambda: "\n".join(edge_text(one) for one in edges)]
    elif every:
        shown = [lambda: edges_table(graph.name, edges)]
    give(as_json, {"model": str(model), "layers": layers, "edges": edges}, *shown)


def _nodes(graph: Graph, name: str | None) -> Sequence[Node]:
    """Return the node of a name, those of a layer, or all without a name.

    Raises: UsageError with names that are alike.
    """
    if name is None or name in graph.by_name:
        return graph.nodes if name is None else (graph.by_name[name],)
    own = [node for node in graph.nodes if node.layer == name]
    if own:
        return own
    alike = get_close_matches(name, graph.by_name, n=5, cutoff=0.4)
    hint = f"perhaps {', '.join(alike)}" if alike else f"they are listed by {command('explain', 'MODEL', '--all')}"
    raise UsageError(f"--edge: expected a layer or an edge of '{graph.name}', not '{name}'; {hint}")


def _edge(graph: Graph, node: Node, ranges: dict[str, Range]) -> dict[str, Any]:
    """Return the record of an edge."""
    from edgephys.graph.ranges import reason

    return {
        "layer": node.layer,
        "edge": node.name,
        "operation": node.op.word,
        "shape": list(node.shape),
        "format": str(node.fixed),
        "bits": node.fixed.bits,
        "low": ranges[node.name].lowest * node.fixed.step,
        "high": ranges[node.name].highest * node.fixed.step,
        "reads": list(node.inputs),
        "read_by": [reader.name for reader in graph.readers[node.name]],
        "reason": reason(graph, node, ranges),
    }


def emit(
    model: ModelFolder,
    to: str,
    out: Annotated[Path | None, typer.Option(help="Project folder; hls_projects/<model>_<target> by default.")] = None,
    vectors: Annotated[
        int | None, typer.Option(max=MOST, help="Held-out vectors in the project; all by default.")
    ] = None,
    raw_inputs: Annotated[
        bool, typer.Option("--raw-inputs", help="Also emit the input standardisation: inputs are raw features.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
    **values: Any,
) -> None:
    """Emit a project from a trained model: firmware for an FPGA, C99 or ONNX for a processor.

    \b
    Example: edgephys emit models/zoo/jet_deepsets_n8_8bit --to rtl --clock-ns 5
    Example: edgephys emit models/zoo/jet_deepsets_n8_8bit --to hls
    Example: edgephys emit models/zoo/jet_deepsets_n8_8bit --to c
    Example: edgephys emit models/zoo/jet_deepsets_n8_8bit --to onnx
    Example: edgephys emit models/zoo/jet_deepsets_n8_8bit --to c --raw-inputs --out hls_projects/tagger_raw
    Example: edgephys emit models/waves/cp12_8bit --to rtl
    """
    from edgephys import project
    from edgephys.models.raw_inputs import with_raw_inputs
    from edgephys.targets.registry import options_of

    options = options_of(to, values)
    source = with_raw_inputs(loaded(model)) if raw_inputs else loaded(model)
    folder = out or Path("hls_projects") / f"{source.name}_{to}{'_raw' * raw_inputs}"
    say(f"emit {source.name} to {to}: {folder}")
    emitted = project.emit(source, options, folder, force, vectors)
    files = sum(1 for path in emitted.firmware.rglob("*") if path.is_file())
    record = {"project": str(folder), "kind": emitted.kind, "files": files, "graph": source.graph.digest}
    clocks = emitted.facts.get("ii", 1)
    interval = {"ii": clocks} if "ii" in emitted.facts else {}
    every = f", an input every {clocks} clocks" if clocks > 1 else ""
    give(as_json, record | interval, lambda: f"{folder}: {files} files, graph {source.graph.digest[:12]}{every}")


def emit_command() -> Callable[..., None]:
    """Return ``emit`` with the options that the registered targets declare."""
    from edgephys.targets.registry import TARGETS

    @wraps(emit)
    def command(**words: Any) -> None:
        emit(**words)

    signature = inspect.signature(emit, eval_str=True)
    fixed = {name: entry for name, entry in signature.parameters.items() if name != "values"}
    *others, last = TARGETS
    target = typer.Option(help=f"Target: {', '.join(others)} or {last}.")
    fixed["to"] = fixed["to"].replace(annotation=_annotated(str, target))
    parameters, position = list(fixed.values()), list(fixed).index("vectors")
    parameters[position:position] = _target_options()
    keyword_only = [entry.replace(kind=inspect.Parameter.KEYWORD_ONLY) for entry in parameters]
    command.__signature__ = signature.replace(parameters=keyword_only)  # type: ignore[attr-defined]
    return command


def _target_options() -> list[inspect.Parameter]:
    """Return a parameter for each option of the registered targets; its help says for which targets it is."""
    from edgephys.targets.options import declared
    from edgephys.targets.registry import TARGETS

    options: dict[str, Option] = {}
    helps: dict[str, dict[str, list[str]]] = {}
    for target in TARGETS.values():
        for option in declared(target.options):
            options[option.name] = option
            text = f"{option.help}, {option.default_text} by default"
            helps.setdefault(option.name, {}).setdefault(text, []).append(target.name)
    parameters = []
    for name, option in options.items():
        text = "; ".join(f"{', '.join(targets)}: {text}" for text, targets in helps[name].items())
        shown: dict[str, Any] = {"parser": option.parsed, "metavar": _kinds(option)} if option.words else {}
        annotation = _annotated(option.kind | None, typer.Option(help=f"{text}.", **shown))
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    return parameters


def _kinds(option: Option) -> str:
    return "|".join([f"<{option.kind.__name__}>", *option.words])


def _annotated(kind: Any, option: Any) -> Any:
    return Annotated[kind, option]


def loaded(folder: Path) -> Model:
    """Return the model in a folder, whatever framework it came from."""
    from edgephys.models.frameworks import framework_of, load

    say(f"load {framework_of(folder).title}")
    return load(folder)


def sweep(
    model: ModelFolder,
    clock_ns: Annotated[float, typer.Option(min=0.1, max=1000, help="Clock period to meet after routing, in ns.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the best project; hls_projects/<model>_swept by default.")
    ] = None,
    device: Annotated[str, typer.Option(help="Lattice ECP5: 12k, 25k, 45k or 85k.")] = "85k",
    cutoffs: Annotated[
        str | None, typer.Option(help="Estimated ns of a stage, such as 4,8,16; searched for by default.")
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(min=0, max=MOST_SEED, help="Seed of the placement, 1 by default; may be repeated."),
    ] = None,
    vectors: Annotated[int | None, typer.Option(min=1, max=MOST, help="Held-out vectors; all by default.")] = None,
    timeout: Annotated[
        float, typer.Option(min=1, max=MOST_SECONDS, help="Seconds for each synthesis or routing job.")
    ] = 3000.0,
    results: Annotated[
        Path | None, typer.Option(help="Write RESULTS.json, .md, .csv and .png; without it the table is only shown.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Choose the number of pipeline stages: route several designs, keep the one with the lowest latency at the clock.

    \b
    Example: edgephys sweep runs/n16 --clock-ns 20 --out hls_projects/n16_swept
    """
    from edgephys import project
    from edgephys.core.files import check_free
    from edgephys.report.pipelining import table, tabulate
    from edgephys.report.render import writer
    from edgephys.targets.rtl.options import RtlOptions
    from edgephys.targets.rtl.sweep import sweep as measure

    source = loaded(model)
    folder = out or Path("hls_projects") / f"{source.name}_swept"
    check_free(folder, project.MANIFEST, force, "a project")
    write = writer(results, table)
    x = source.held_out.inputs
    if vectors is not None and vectors > len(x):
        raise UsageError(f"--vectors must be 1..{len(x)} (what the model carries), not {vectors}")
    designs = measure(source.graph, x[:vectors], clock_ns, device, _numbers(cutoffs), seed or [1], timeout, say)
    record = tabulate(designs, source.graph.name, line())
    write(record)
    give(as_json, record, lambda: table(record))
    chosen = designs.require()
    options = RtlOptions(part=designs.part, clock_ns=clock_ns, cutoff_ns=chosen.cutoff_ns)
    project.emit(source, options, folder, force, vectors)
    say(f"kept {chosen.stages} stages: {folder}")


def _numbers(words: str | None) -> list[float] | None:
    try:
        return None if words is None else [float(word) for word in words.split(",")]
    except ValueError as error:
        raise UsageError(f"--cutoffs must be numbers of ns such as 4,8,16, not '{words}'") from error


def verify(
    project: ProjectFolder,
    data: Annotated[
        Path | None, typer.Option(help="File of raw data to compare on, instead of the project's held-out vectors.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, max=MOST, help="With --data: largest number of examples.")] = None,
    netlist: Annotated[
        bool, typer.Option("--netlist", help="Also simulate and prove the netlists that Yosys makes of the RTL.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare the model, the golden model and the emitted sources, bit for bit; exit with 1 where they differ.

    They are compared on the held-out vectors and on vectors made for the Graph, whose coverage is stated. Tools that
    only read the sources check whether they can be synthesised. With --netlist a design that `edgephys report --place`
    placed and routed is simulated as routed, too.

    \b
    Example: edgephys verify hls_projects/jet_deepsets_n8_8bit_rtl --data models/samples/jets.h5
    Example: edgephys verify hls_projects/jet_deepsets_n8_8bit_rtl --netlist
    """
    from edgephys.project import read
    from edgephys.report.show import coverage_table, lint_table, proofs_table, score_table, targets_table
    from edgephys.verify.run import verify as compare
    from edgephys.verify.user_vectors import raw_vectors

    if limit is not None and data is None:
        raise UsageError("--limit goes with --data; leave it out")
    opened = read(project)
    vectors = raw_vectors(opened, data, limit) if data is not None else None
    verified = compare(opened, vectors, say, data.name if data is not None else None, netlist)
    record = verified.to_record()
    tables = [targets_table, coverage_table, score_table]
    tables += [lint_table] * bool(verified.lints) + [proofs_table] * netlist  # C and ONNX have no tool that reads them
    give(as_json, record, *(partial(table, record) for table in tables))
    for warning in verified.warnings:
        note(warning)
    verified.require()


def report(
    project: ProjectFolder,
    synth: Annotated[bool, typer.Option(help="Synthesise RTL with Yosys, unless the result is cached.")] = True,
    place: Annotated[
        bool, typer.Option("--place", help="Place and route RTL on a Lattice ECP5-85k, for the clock it reaches.")
    ] = False,
    flat: Annotated[
        bool, typer.Option("--flat", help="Also synthesise the whole RTL at once (flat), to compare the LUTs.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1, max=MOST_SECONDS, help="Seconds for each synthesis or routing job.")
    ] = 3000.0,
    whole: Annotated[bool, typer.Option("--all", help="Print every figure, with what it is of.")] = False,
    html: Annotated[
        Path | None, typer.Option(help="Also write a web page with tables and pictures, one file that needs no other.")
    ] = None,
    tables: Annotated[
        Path | None, typer.Option(help="Folder for the tables of this page, as CSV and LaTeX, and its pictures.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Gather every figure of a project with its provenance; a figure that was not measured says why.

    One screen shows the figures by group; --all shows the rest. --html writes all of it with pictures: the verdict,
    layers, pipeline, curves or maps of errors, widths, weights, memory and coverage.

    \b
    Example: edgephys report hls_projects/jet_deepsets_n8_8bit_rtl --place
    Example: edgephys report hls_projects/jet_deepsets_n8_8bit_rtl --html report.html
    Example: edgephys report hls_projects/jet_deepsets_n8_8bit_rtl --all --tables report_tables
    """
    from edgephys.core import machine
    from edgephys.figures import report as collect
    from edgephys.project import read
    from edgephys.report import web
    from edgephys.report.figure_groups import figures_table, screen_table
    from edgephys.report.project_page import project_page
    from edgephys.targets.target import ToolRuns

    if html is not None:
        web.check_page(html)
    if tables is not None:
        web.check_tables(tables)
    opened = read(project)
    reported = collect(opened, ToolRuns(synth=synth, place=place, flat=flat, timeout_s=timeout), say)
    for title, path in reported.pictures.items():
        say(f"{title}: {path}")
    if html is not None or tables is not None:
        page = project_page(opened, reported, line(), machine.name())
        web.write_to(page, html, tables)
        for path in filter(None, (html, tables)):
            say(f"written: {path}")
    declare = figures_table if whole else screen_table
    give(as_json, reported.record, lambda: declare(opened.name, reported.figures))
