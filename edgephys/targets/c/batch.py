"""The entry point for many events: PREFIX_batch.c, whose innermost loops are over the events of a block.

It is the program of one event with a lane for each event of a block (``plan`` with lanes), so that a compiler turns
each loop into vectors. The rules are those of one event. Where one of them writes no loop over lanes the entry point
runs event after event, and the facts say which layer is the reason. They also say which products are written with words
of inputs besides digits (``words``): the compiler takes those where it has their instructions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from edgephys import __version__
from edgephys.graph.graph import Graph
from edgephys.graph.ops import Dense
from edgephys.targets.c import memory
from edgephys.targets.c.access import Tables
from edgephys.targets.c.chain import SourceWriter
from edgephys.targets.c.loops import body, indented, loop
from edgephys.targets.c.plan import Program, name_of, not_laned, plan
from edgephys.targets.c.roles import Roles
from edgephys.targets.c.source import arena_bytes, arrays_of, function
from edgephys.targets.c.words import CHOICES, WordTables, functions, guard

LANES = 32
"""Events of a block: a vector of 512 bits has as many lanes of 16 bits."""
MANY_LANES = 64
"""The same where a block's instructions fill the nearest cache more often than its arrays do."""
MANY_WEIGHTS = 4096
"""Nonzero weights from which on the instructions do not fit there: an addition or two of about 8 bytes each."""
NEAR = 1 << 15
"""Bytes of the arrays of a step that stay in the nearest cache, besides the array of pairs."""


@dataclass(frozen=True)
class BatchFiles:
    """Hold the text of the source, the lines that declare it in the header, and its facts for the manifest."""

    source: str
    declaration: list[str]
    facts: Mapping[str, Any] = field(default_factory=dict)


def write(
    graph: Graph, roles: Roles, prefix: str, style: str, single: tuple[int, int], notes: Mapping[str, int]
) -> BatchFiles:
    """Return the entry point of a graph for many events; ``single`` are size and alignment of the arena for one.

    ``notes`` gives the place of each layer's integers for a probe, as for one event. The facts name those that this
    entry point records: not views, which are read where the array of another node has their elements.
    """
    reason = not_laned(graph, roles)
    if reason is not None:
        return _one_by_one(prefix, reason.layer, single)
    program = _planned(graph, roles)
    arena = memory.best(program.tensors, program.alignment)
    tables = Tables(f"{prefix}_batch")
    writer = SourceWriter(program, tables, notes, f"{prefix.upper()}_BATCH_NOTE", words=WordTables(prefix))
    steps, calls, stack = [], [], 0
    for number, step in enumerate(program.steps):
        written = len(writer.parts)
        lines, array_bytes = body(writer, step.node, style)
        stack = max(stack, array_bytes)
        name = f"{prefix}_batch{number}_{name_of(step.node)}"
        steps += writer.parts[written:] + function(name, step, lines)
        calls.append(f"{name}({', '.join([*(buffer.name for buffer in step.reads), step.writes.name])});")
    words = _words(writer.words, program.lanes)
    source = [*_opening(prefix, True), *words, *tables.text, "", *steps, *_moves(program, prefix)]
    source += _run(program, arena, prefix, calls)
    facts = {
        "lanes": program.lanes,
        "arena_bytes": arena_bytes(program, arena),
        "arena_alignment": program.alignment,
        "const_bytes": tables.bytes + writer.words.bytes,
        "stack_bytes": stack,
        "carriers": {step.node.name: step.writes.ctype for step in program.steps},
        "words": writer.packings,
        "one_by_one": None,
        "probes": [name for name in notes if name in writer.recorded],
    }
    declaration = _declaration(prefix, program.lanes, arena_bytes(program, arena), program.alignment)
    return BatchFiles("\n".join(source) + "\n", declaration, facts)


def _words(words: WordTables, lanes: int) -> list[str]:
    """Return the functions and tables for products of words; nothing where there is no such product."""
    if not words.used:
        return []
    packings = next(packings for packings in CHOICES if set(packings) == words.used)
    tables = [f"#ifdef {guard(words.prefix)}", *words.text, "#endif", ""]
    return [*functions(words.prefix, lanes, packings).splitlines(), "", *tables]


def _planned(graph: Graph, roles: Roles) -> Program:
    """Return the program of a block, of more events where the weights are many and the arrays small."""
    weights = sum(np.count_nonzero(node.op.constant.integers) for node in graph.nodes if isinstance(node.op, Dense))
    if weights >= MANY_WEIGHTS:
        program = plan(graph, roles, MANY_LANES)
        if all(sum(b.size for b in (*step.reads, step.writes)) <= NEAR for step in program.steps):
            return program
    return plan(graph, roles, LANES)


def _one_by_one(prefix: str, layer: str, single: tuple[int, int]) -> BatchFiles:
    upper = prefix.upper()
    lines = [
        f"/* Event after event: layer {layer.replace('*/', '* /')} is not computed for several at once. */",
        *_head(prefix),
        "{",
        *indented(
            [
                "for (size_t event = 0; event < count; event++)",
                f"    {prefix}_run(input + {upper}_INPUTS * event, output + {upper}_OUTPUTS * event, arena);",
            ]
        ),
        "}",
    ]
    source = [*_opening(prefix, False), *lines]
    facts = {"lanes": 1, "arena_bytes": single[0], "arena_alignment": single[1], "one_by_one": layer, "probes": []}
    return BatchFiles("\n".join(source) + "\n", _declaration(prefix, 1, *single), facts)


def _opening(prefix: str, laned: bool) -> list[str]:
    lines = [f"/* Emitted by edgephys {__version__}: see {prefix}.h. */", "", f'#include "{prefix}.h"', ""]
    if not laned:
        return lines
    note = f"{prefix.upper()}_BATCH_NOTE"
    return [
        *lines,
        "/* A compiler that does not shift negative numbers arithmetically, or whose int is narrow, ends here. */",
        f"typedef char {prefix}_batch_shifts[((-3) >> 1) == -2 && sizeof(int) >= 4 ? 1 : -1];",
        "",
        f"#ifdef {prefix.upper()}_PROBE /* every layer's integers of each lane l, for who asks for them */",
        f"void {prefix}_batch_note(size_t lane, size_t at, int64_t value);",
        f"#define {note}(at, value) {prefix}_batch_note((size_t)(l), (size_t)(at), (int64_t)(value))",
        "#else",
        f"#define {note}(at, value) ((void)0)",
        "#endif",
        "",
    ]


def _declaration(prefix: str, lanes: int, arena: int, alignment: int) -> list[str]:
    """Return the lines of the header."""
    upper = prefix.upper()
    return [
        "",
        f"/* {prefix}_batch.c: the same integers for `count` events, which follow one another in input and output; 0",
        " * is allowed. Blocks of BATCH_LANES events are computed together. The arena is one of its own. */",
        f"#define {upper}_BATCH_LANES {lanes}",
        f"#define {upper}_BATCH_ARENA_BYTES {arena}",
        f"#define {upper}_BATCH_ARENA_ALIGNMENT {alignment}",
        *_head(prefix, ";"),
    ]


def _head(prefix: str, end: str = "") -> list[str]:
    parameters = f"const {prefix}_input_t *input, {prefix}_output_t *output, size_t count, void *arena"
    return [f"void {prefix}_run_batch({parameters}){end}"]


def _moves(program: Program, prefix: str) -> list[str]:
    """Return the functions that copy the events of a block into lanes, and lanes into events."""
    graph, lanes = program.graph, program.lanes
    inputs, outputs = prod(graph.input.shape), prod(graph.output.shape)
    to, back = program.buffers[graph.input.name], program.buffers[graph.output.name]
    lane = f"lanes[{lanes} * (size_t)i + l]"
    load = [
        "for (size_t l = 0; l < events; l++) {",
        *indented(loop("i", inputs, [f"{lane} = ({to.ctype})input[{inputs} * l + (size_t)i];"])),
        "}",
        f"for (size_t l = events; l < {lanes}; l++) {{",
        *indented(loop("i", inputs, [f"{lane} = 0;"])),
        "}",
    ]
    store = [
        "for (size_t l = 0; l < events; l++) {",
        *indented(loop("i", outputs, [f"output[{outputs} * l + (size_t)i] = ({prefix}_output_t){lane};"])),
        "}",
    ]
    heads = (
        ("load", f"const {prefix}_input_t *restrict input, {to.ctype} *restrict lanes, size_t events", load),
        ("store", f"const {back.ctype} *restrict lanes, {prefix}_output_t *restrict output, size_t events", store),
    )
    lines: list[str] = []
    for name, parameters, text in heads:
        lines += [f"static void {prefix}_batch_{name}({parameters})", "{", *indented(text), "}", ""]
    return lines


def _run(program: Program, arena: memory.MemoryPlan, prefix: str, calls: list[str]) -> list[str]:
    graph, upper, lanes = program.graph, prefix.upper(), program.lanes
    to, back = (program.buffers[node.name].name for node in (graph.input, graph.output))
    block = [
        f"const size_t events = count - first < {lanes} ? count - first : {lanes};",
        f"{prefix}_batch_load(input + {upper}_INPUTS * first, {to}, events);",
        *calls,
        f"{prefix}_batch_store({back}, output + {upper}_OUTPUTS * first, events);",
    ]
    lines = [
        "unsigned char *const bytes = (unsigned char *)arena;",
        *arrays_of(program, arena),
        f"for (size_t first = 0; first < count; first += {lanes}) {{",
        *indented(block),
        "}",
    ]
    return [*_head(prefix), "{", *indented(lines), "}"]
