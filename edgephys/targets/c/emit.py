"""Graph -> C99 on integers, with a C++ wrapper; compiled and run to compare it with the golden model.

The emitted source has no heap, no floating point and no state. Every name starts with the prefix, so that several
models link into one program. Intermediate results lie in an arena that the caller provides (``memory`` plans it).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core import builds, machine
from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ProjectError, ToolError
from edgephys.core.fixed import Integers
from edgephys.core.names import real_path
from edgephys.core.scratch import temporary_folder
from edgephys.graph.graph import Graph, check
from edgephys.graph.passes import drop_dead
from edgephys.targets import sanitiser
from edgephys.targets.c import batch, memory, rollout
from edgephys.targets.c.options import KEYWORDS, COptions
from edgephys.targets.c.plan import plan
from edgephys.targets.c.rules import RULES
from edgephys.targets.c.source import arena_bytes, write
from edgephys.targets.c.words import flags as flags_of_words
from edgephys.targets.emit_again import emit_again
from edgephys.targets.vectors import edges_of, require_vectors

COMPILE_S = 1800.0
RUN_S = 3600.0
FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
SANITISED = ("-std=c99", "-w", "-O0", *sanitiser.FLAGS)
MAIN = Path(__file__).parent / "runtime" / "run_main.c"
BATCH_MAIN = MAIN.with_name("run_batch_main.c")


def prefix_of(graph: Graph) -> str:
    """Return the default prefix of a graph: its name with the letters that C allows."""
    name = re.sub(r"[^a-z0-9]+", "_", graph.name.lower()).strip("_") or "model"
    return f"m_{name}" if name[0].isdigit() or name in KEYWORDS.split() else name


def emit(graph: Graph, folder: Path, options: COptions) -> dict[str, Any]:
    """Write PREFIX.h, PREFIX.c and PREFIX.hpp into ``folder`` and return their facts for the manifest.

    Exact: the graph's integers; two emissions of a graph are the same bytes.
    Raises: ModelError, naming the layer that cannot be computed in 62 bits; nothing is written then.
    """
    graph = drop_dead(check(graph))
    prefix = options.prefix or prefix_of(graph)
    roles = RULES.of_nodes(graph)
    program = plan(graph, roles)
    arena = memory.best(program.tensors, program.alignment)
    ends = {node.name: node for _, node in graph.layers() if node.name not in graph.inputs}
    notes: dict[str, int] = {}
    results = 0
    for name, node in ends.items():
        notes[name] = results
        results += prod(node.shape)
    single = arena_bytes(program, arena), program.alignment
    many = batch.write(graph, roles, prefix, options.style, single, notes) if options.batch else None
    output_bytes = np.dtype(program.buffers[graph.output.name].ctype.removesuffix("_t")).itemsize
    fed_back = rollout.write(graph, prefix, options.rollout, single, output_bytes) if options.rollout else None
    further = [*(many.declaration if many else ()), *(fed_back.declaration if fed_back else ())]
    files = write(program, arena, prefix, notes, options.style, further)
    texts = {".h": files.header, ".c": files.source, ".hpp": files.wrapper}
    if many:
        texts["_batch.c"] = many.source
    if fed_back:
        texts["_rollout.c"] = fed_back.source
    for ending, text in texts.items():
        (folder / f"{prefix}{ending}").write_text(text)
    return {
        "prefix": prefix,
        "style": options.style,
        "files": [f"{prefix}{ending}" for ending in texts],
        "input": _port(graph.input, program.buffers[graph.input.name].ctype),
        "output": _port(graph.output, program.buffers[graph.output.name].ctype),
        "arena_bytes": single[0],
        "arena_alignment": single[1],
        "bound_bytes": arena.bound,
        "no_sharing_bytes": memory.naive(program.tensors, program.alignment).total,
        "strategy": arena.strategy,
        "tensors": [
            {"name": t.name, "bytes": t.size, "first": t.first, "last": t.last, "offset": offset}
            for t, offset in zip(arena.tensors, arena.offsets, strict=True)
        ],
        "steps": [{"layer": step.node.layer, "node": step.node.name} for step in program.steps],
        "const_bytes": files.const_bytes,
        "stack_bytes": files.stack_bytes,
        "carriers": {step.node.name: step.writes.ctype for step in program.steps if not step.transposes},
        "layers": {name: node.name for name, node in graph.layers()},
        **({"batch": dict(many.facts)} if many else {}),
        **({"rollout": dict(fed_back.facts)} if fed_back else {}),
        "probes": [{"node": name, "shape": list(ends[name].shape), "at": at} for name, at in notes.items()],
    }


def _port(node: Any, ctype: str) -> dict[str, Any]:
    record = {"node": node.name, "shape": list(node.shape), "fixed": node.fixed.to_record()}
    return {**record, "type": ctype, "fraction": node.fixed.fraction}


# Compilation and execution --------------------------------------------------------------------------


def tool() -> tuple[str, str]:
    """Return the name and version of the compiler that is used here."""
    return "gcc", tools.find("gcc").version


def run(folder: Path, facts: Mapping[str, Any], x: Integers) -> Integers:
    """Compile and run the emitted source and return its outputs, in steps of the output's format.

    Shape: x (vector, *input shape) -> (vector, *output shape).  Exact: integers in and out.
    Raises: ToolError where gcc or the program fails; MismatchError for no vectors, missing outputs, or a program that
    fails because of an access outside of its memory; ProjectError where a source is missing.
    """
    shape = facts["output"]["shape"]
    try:
        return _run(folder, facts, x, prod(shape)).reshape(len(x), *shape)
    except ToolError:
        run_sanitised(folder, facts, x[: sanitiser.most(prod(facts["input"]["shape"]))])
        raise


def run_sanitised(folder: Path, facts: Mapping[str, Any], x: Integers) -> Integers:
    """Return the outputs of the source, compiled with checks of every memory access and of its arithmetic.

    Shape: x (vector, *input shape) -> (vector, *output shape).  Exact: integers in and out.
    Raises: MismatchError for the first access outside of its arena, input, output or an array; else as ``run``.
    """
    shape = facts["output"]["shape"]
    return _run(folder, facts, x, prod(shape), flags=SANITISED).reshape(len(x), *shape)


def run_batch(folder: Path, facts: Mapping[str, Any], x: Integers, flags: tuple[str, ...] = FLAGS) -> Integers:
    """Return the outputs of the entry point for many events, in calls of several sizes, none and one among them.

    Shape: x (vector, *input shape) -> (vector, *output shape).  Exact: integers in and out.
    Raises: as ``run``.
    """
    shape = facts["output"]["shape"]
    return _run(folder, facts, x, prod(shape), (), flags, batch=True).reshape(len(x), *shape)


def with_words(facts: Mapping[str, Any]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return the name, the words and the options of the other way to compile a source with products of words.

    Nothing where it has none, or where this processor lacks their instructions: then the source hides them.
    """
    options = flags_of_words(machine.describe()["features"])
    return [("_words", ", products of words", options)] if options and facts["batch"].get("words") else []


def probe_batch(
    folder: Path, facts: Mapping[str, Any], x: Integers, flags: tuple[str, ...] = SANITISED
) -> tuple[Integers, dict[str, Integers]]:
    """Return the outputs of the entry point for many events, and the integers of the layers that it records.

    Shape: x (vector, *input shape) -> (vector, *output shape), and by node each (vector, *shape).
    Raises: as ``run``.
    """
    shape, prefix = facts["output"]["shape"], facts["prefix"]
    results = sum(prod(entry["shape"]) for entry in facts["probes"])
    notes = (f"-DNOTE={prefix}_batch_note", f"-DNOTE_OF_ONE={prefix}_note", f"-DNOTED={max(1, results)}")
    probing = (f"-D{prefix.upper()}_PROBE", *notes)
    both = _run(folder, facts, x, prod(shape) + max(1, results), probing, flags, batch=True)
    outputs, noted = both[:, : prod(shape)], both[:, prod(shape) :]
    recorded = set(facts["batch"]["probes"])
    edges = {node: edge for node, edge in edges_of(noted, facts["probes"]).items() if node in recorded}
    return outputs.reshape(len(x), *shape), edges


def probe(folder: Path, facts: Mapping[str, Any], x: Integers) -> dict[str, Integers]:
    """Return the integers of the emitted source at the end of every layer, by layer.

    Shape: x (vector, *input shape) -> each (vector, *shape).  Raises: as ``run``.
    """
    prefix = facts["prefix"]
    results = sum(prod(entry["shape"]) for entry in facts["probes"])
    probing = (f"-D{prefix.upper()}_PROBE", f"-DNOTE={prefix}_note")
    y = _run(folder, facts, x, results, probing)
    edges = {facts["input"]["node"]: np.asarray(x, np.int64), **edges_of(y, facts["probes"])}
    return {layer: edges[node] for layer, node in facts["layers"].items()}


def _run(
    folder: Path,
    facts: Mapping[str, Any],
    x: Integers,
    results: int,
    probing: tuple[str, ...] = (),
    flags: tuple[str, ...] = FLAGS,
    batch: bool = False,
) -> Integers:
    x = require_vectors("C target", x, facts["input"]["shape"]).astype(np.int64)
    program = compiled(folder, facts, results, probing, flags, batch)
    names = [path.name for path in (*sources(folder, facts), *batch_sources(folder, facts))]
    with temporary_folder("c") as scratch:
        x.tofile(scratch / "x")
        words = [str(program), "x", "y", str(len(x))]
        sanitiser.run(words, scratch, RUN_S, names)
        y = np.fromfile(scratch / "y", np.int64)
    if y.size != len(x) * results:
        raise MismatchError(f"C target {folder}: {y.size // max(1, results)} outputs for {len(x)} vectors")
    return y.reshape(len(x), results)


def compiled(
    folder: Path,
    facts: Mapping[str, Any],
    results: int,
    probing: tuple[str, ...] = (),
    flags: tuple[str, ...] = FLAGS,
    batch: bool = False,
) -> Path:
    """Return the program that reads vectors and runs the emitted source; the cache depends on all sources."""
    source, header = sources(folder, facts)
    compiled_files = (source, *batch_sources(folder, facts), BATCH_MAIN) if batch else (source, MAIN)
    compiler = tools.find("gcc")
    words = (*flags, *macros(facts), f"-DRESULTS={results}", *probing)

    def build(scratch: Path) -> None:
        files = (f"-I{header.parent}", *map(str, compiled_files))
        tools.run((*compiler.command, *words, *files, "-o", "run"), scratch, COMPILE_S)

    return builds.built(builds.content_key([*compiled_files, header], compiler.version, *words), build) / "run"


def sources(folder: Path, facts: Mapping[str, Any]) -> tuple[Path, Path]:
    """Return the emitted source and its header; raise ProjectError where one is missing."""
    paths = real_path(folder) / f"{facts['prefix']}.c", real_path(folder) / f"{facts['prefix']}.h"
    _require(folder, paths)
    return paths


def batch_sources(folder: Path, facts: Mapping[str, Any]) -> tuple[Path, ...]:
    """Return the source of the entry point for many events, or nothing where none was emitted.

    Raises: ProjectError where it is missing.
    """
    paths = (real_path(folder) / f"{facts['prefix']}_batch.c",) if "batch" in facts else ()
    _require(folder, paths)
    return paths


def _require(folder: Path, paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.is_file():
            raise ProjectError(f"{folder}: {path.name} is missing; {emit_again(folder, 'c')}")


def macros(facts: Mapping[str, Any], before: str = "") -> tuple[str, ...]:
    """Return the compiler options that define a model's names for the programs in ``runtime`` and in ``bench``.

    ``before`` stands at the start of the names of the macros.
    """
    prefix, upper = facts["prefix"], facts["prefix"].upper()
    names = {
        "HEADER": f'"{prefix}.h"',
        "RUN": f"{prefix}_run",
        "INPUT_T": f"{prefix}_input_t",
        "OUTPUT_T": f"{prefix}_output_t",
        "INPUTS": f"{upper}_INPUTS",
        "OUTPUTS": f"{upper}_OUTPUTS",
        "ARENA_BYTES": f"{upper}_ARENA_BYTES",
    }
    if "batch" in facts:
        names |= {
            "RUN_BATCH": f"{prefix}_run_batch",
            "BATCH_LANES": f"{upper}_BATCH_LANES",
            "BATCH_ALIGNMENT": f"{upper}_BATCH_ARENA_ALIGNMENT",
            "BATCH_ARENA_BYTES": f"{upper}_BATCH_ARENA_BYTES",
        }
    return tuple(f"-D{before}{name}={value}" for name, value in names.items())
