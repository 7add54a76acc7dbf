"""The texts of a C target: one header, one source, one C++ wrapper."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from edgephys import __version__
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding, Toward
from edgephys.targets.c.access import Tables
from edgephys.targets.c.chain import SourceWriter
from edgephys.targets.c.layout import flat
from edgephys.targets.c.loops import body, indented, loop
from edgephys.targets.c.memory import MemoryPlan
from edgephys.targets.c.plan import Program, StepFunction, name_of
from edgephys.targets.c.probes import not_stored, probe


@dataclass(frozen=True)
class SourceFiles:
    """Hold the texts of the files, the bytes of the constant tables and the most bytes of a function's arrays."""

    header: str
    source: str
    wrapper: str
    const_bytes: int
    stack_bytes: int


def write(
    program: Program, arena: MemoryPlan, prefix: str, notes: Mapping[str, int], style: str, further: Sequence[str] = ()
) -> SourceFiles:
    """Return the source files of a program. ``notes`` gives the place of each layer's integers for a probe.

    ``further`` are the lines of the header that declare other entry points, for many events and for many steps.
    """
    tables = Tables(prefix)
    writer = SourceWriter(program, tables, notes, f"{prefix.upper()}_NOTE")
    functions: list[str] = []
    calls: list[str] = []
    stack = 0
    views, probed = not_stored(program, notes), Tables(f"{prefix}_seen")
    for number, step in enumerate(program.steps):
        while views and program.graph.nodes.index(views[0]) < program.graph.nodes.index(step.node):
            calls += [f"#ifdef {prefix.upper()}_PROBE", *probe(writer, views.pop(0), probed), "#endif"]
        lines, array_bytes = _transposing(step) if step.transposes else body(writer, step.node, style)
        stack = max(stack, array_bytes)
        name = f"{prefix}_step{number}_{name_of(step.node)}"
        functions += function(name, step, lines)
        calls.append(f"{name}({', '.join([*(buffer.name for buffer in step.reads), step.writes.name])});")
    arrays = arrays_of(program, arena)
    source = [*_opening(prefix, probed), *tables.text, "", *functions, *_run(prefix, arrays, calls)]
    return SourceFiles(
        _header(program, arena, prefix, further),
        "\n".join(source) + "\n",
        _wrapper(program, prefix),
        tables.bytes,
        stack,
    )


def function(name: str, step: StepFunction, lines: list[str]) -> list[str]:
    """Return the function of a step."""
    reads = [f"const {buffer.ctype} *restrict {buffer.name}" for buffer in step.reads]
    head = ", ".join([*reads, f"{step.writes.ctype} *restrict {step.writes.name}"])
    text = "\n".join(lines)
    unread = [f"(void){b.name};" for b in step.reads if not re.search(rf"\b{b.name}\b", text)]
    what = "laid out channel by channel" if step.transposes else step.node.op.word
    comment = f"/* layer {name_of(step.node)}: {what} {step.node.fixed} */"
    return [comment, f"static void {name}({head})", "{", *indented([*unread, *lines]), "}", ""]


def _transposing(step: StepFunction) -> tuple[list[str], int]:
    rows, channels = flat(step.node.shape)
    source, target = step.reads[0], step.writes
    line = f"{target.name}[{rows} * n + r] = {source.name}[{channels} * r + n];"
    return loop("n", channels, loop("r", rows, [line])), 0


def arrays_of(program: Program, arena: MemoryPlan) -> list[str]:
    """Return the lines that define a pointer to each array in the arena, whose first byte is ``bytes``."""
    types = {buffer.name: buffer.ctype for step in program.steps for buffer in (*step.reads, step.writes)}
    return [
        f"{types[t.name]} *const {t.name} = ({types[t.name]} *)(void *)(bytes + {offset});"
        for t, offset in zip(arena.tensors, arena.offsets, strict=True)
    ]


def _run(prefix: str, arrays: list[str], calls: list[str]) -> list[str]:
    head = f"void {prefix}_run(const {prefix}_input_t *input, {prefix}_output_t *output, void *arena)"
    start = ["unsigned char *const bytes = (unsigned char *)arena;"] if arrays else ["(void)arena;"]
    unread = [] if re.search(r"\binput\b", " ".join(calls)) else ["(void)input;"]
    lines = [line if line.startswith("#") else f"    {line}" for line in (*start, *arrays, *unread, *calls)]
    return [head, "{", *lines, "}"]


def _opening(prefix: str, probed: Tables) -> list[str]:
    upper = prefix.upper()
    return [
        f"/* Emitted by edgephys {__version__}: see {prefix}.h. */",
        "",
        f'#include "{prefix}.h"',
        "",
        "#include <stddef.h>",
        "",
        "/* A compiler that does not shift negative numbers arithmetically, or whose int is narrow, ends here. */",
        f"typedef char {prefix}_shifts[((-3) >> 1) == -2 && sizeof(int) >= 4 ? 1 : -1];",
        "",
        f"#ifdef {upper}_PROBE /* every layer's integers, for who asks for them */",
        f"void {prefix}_note(size_t at, int64_t value);",
        f"#define {upper}_NOTE(at, value) {prefix}_note((size_t)(at), (int64_t)(value))",
        *probed.text,
        "#else",
        f"#define {upper}_NOTE(at, value) ((void)0)",
        "#endif",
        "",
    ]


def _header(program: Program, arena: MemoryPlan, prefix: str, further: Sequence[str]) -> str:
    graph, upper = program.graph, prefix.upper()
    lines = [
        f"/* {_plain(graph.name)}: emitted by edgephys {__version__} from graph {graph.digest}.",
        " *",
        f" * {prefix}_run computes the graph's integers exactly, in C99 on integers: no heap, no floating point, no",
        " * state. Input and output are integers in steps of 2**-fraction, row after row of their shapes:",
    ]
    for name, node in (("input", graph.input), ("output", graph.output)):
        shape = " x ".join(map(str, node.shape)) or "1"
        lines.append(f" *   {name:6} {shape}, {node.fixed}: {node.fixed.low}..{node.fixed.high}")
    lines += [
        f" * The caller gives {upper}_ARENA_BYTES of memory aligned to {upper}_ARENA_ALIGNMENT, which holds",
        " * nothing between two calls; input, output and arena must not overlap, and an input outside its range has no",
        " * defined result. Calls with arenas of their own may run at once.",
        " */",
        f"#ifndef {upper}_H",
        f"#define {upper}_H",
        "",
        *(["#include <stddef.h>"] if further else []),
        "#include <stdint.h>",
        "",
        f'#define {upper}_GRAPH "{graph.digest}"',
        f"#define {upper}_ARENA_BYTES {arena_bytes(program, arena)}",
        f"#define {upper}_ARENA_ALIGNMENT {program.alignment}",
        "",
    ]
    for name, node in (("INPUT", graph.input), ("OUTPUT", graph.output)):
        lines += [
            f"#define {upper}_{name}S {prod(node.shape)}",
            f"#define {upper}_{name}_RANK {len(node.shape)}",
            *(f"#define {upper}_{name}_SHAPE_{axis} {length}" for axis, length in enumerate(node.shape)),
            f"#define {upper}_{name}_FRACTION ({node.fixed.fraction})",
            f"typedef {program.buffers[node.name].ctype} {prefix}_{name.lower()}_t;",
            "",
        ]
    lines += [
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"void {prefix}_run(const {prefix}_input_t *input, {prefix}_output_t *output, void *arena);",
        *further,
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def arena_bytes(program: Program, arena: MemoryPlan) -> int:
    """Return the bytes of the arena; at least one element, because C has no empty arrays."""
    return max(arena.total, program.alignment)


def _plain(name: str) -> str:
    return name.replace("*/", "* /")


# The C++ wrapper -----------------------------------------------------------------------------------

UPPER_AT_TIE = {
    Toward.ZERO: "whole < 0",
    Toward.AWAY: "whole >= 0",
    Toward.EVEN: "std::fmod(whole, 2.0) != 0",
}
"""The C++ condition under which a tie goes to the step above ``whole``, where it depends on ``whole``."""


def _upper(mode: Rounding) -> str:
    """Return the C++ condition under which 1 is added to ``whole``, the floor of the scaled value."""
    if not mode.nearest:
        return "false" if mode.toward is Toward.LOWER else "inexact && scaled < 0"
    if mode.toward in UPPER_AT_TIE:
        return f"rest > 0.5 || (rest == 0.5 && {UPPER_AT_TIE[mode.toward]})"
    return "rest >= 0.5" if mode.toward is Toward.UPPER else "rest > 0.5"


def _overflow(fixed: Fixed) -> list[str]:
    low, high = f"INT64_C({fixed.low})", f"INT64_C({fixed.high})"
    if fixed.overflow is Overflow.WRAP:
        lines = [f"const std::int64_t kept = steps & INT64_C({(1 << fixed.bits) - 1});"]
        wrapped = f"kept > {high} ? kept - INT64_C({1 << fixed.bits}) : kept" if fixed.signed else "kept"
        return [*lines, f"return static_cast<input_type>({wrapped});"]
    if fixed.overflow is Overflow.SAT_ZERO:
        return [f"return static_cast<input_type>(steps < {low} || steps > {high} ? 0 : steps);"]
    return [f"return static_cast<input_type>(steps < {low} ? {low} : steps > {high} ? {high} : steps);"]


def _wrapper(program: Program, prefix: str) -> str:
    graph, upper = program.graph, prefix.upper()
    fixed = graph.input.fixed
    version = f"v{graph.digest[:8]}"
    lines = [
        f"// {graph.name}: C++ of {prefix}.h, emitted by edgephys {__version__}.",
        "// The namespace names the graph, so that two versions of a model are two classes.",
        f"#ifndef {upper}_HPP",
        f"#define {upper}_HPP",
        "",
        f'#include "{prefix}.h"',
        "",
        "#include <array>",
        "#include <cmath>",
        "#include <cstdint>",
        "#include <stdexcept>",
        "",
        f"namespace {prefix} {{",
        f"inline namespace {version} {{",
        "",
        "// One model with an arena of its own: a thread needs one each.",
        "class Model {",
        "public:",
        f"    using input_type = {prefix}_input_t;",
        f"    using output_type = {prefix}_output_t;",
        f"    static constexpr int inputs = {upper}_INPUTS;",
        f"    static constexpr int outputs = {upper}_OUTPUTS;",
        "",
        f'    static const char *version() {{ return "{version}"; }}',
        f"    static const char *graph() {{ return {upper}_GRAPH; }}",
        "",
        "    // Integers in steps of the formats.",
        f"    void run(const input_type *input, output_type *output) {{ {prefix}_run(input, output, arena_); }}",
        "",
        "    // Values: rounded and overflowed into the input's format as the graph says, exact from there on.",
        "    std::array<double, outputs> operator()(const std::array<double, inputs> &values) {",
        "        std::array<input_type, inputs> x;",
        "        std::array<output_type, outputs> y;",
        "        std::array<double, outputs> found;",
        "        for (std::size_t i = 0; i < x.size(); i++)",
        "            x[i] = quantised(values[i]);",
        "        run(x.data(), y.data());",
        "        for (std::size_t i = 0; i < y.size(); i++)",
        f"            found[i] = std::ldexp(static_cast<double>(y[i]), -{upper}_OUTPUT_FRACTION);",
        "        return found;",
        "    }",
        "",
        f"    // A value in steps of {fixed}.",
        "    static input_type quantised(double value) {",
        f"        const double scaled = std::ldexp(value, {upper}_INPUT_FRACTION);",
        "        if (!(std::fabs(scaled) < 4611686018427387904.0))",
        f'            throw std::domain_error("{prefix}: a value must be finite and below 2**62 steps");',
        "        const double whole = std::floor(scaled), rest = scaled - whole;",
        "        const bool inexact = rest != 0;",
        f"        const bool up = {_upper(fixed.rounding)};",
        "        (void)inexact;",
        "        const std::int64_t steps = static_cast<std::int64_t>(whole) + (up ? 1 : 0);",
        *(f"        {line}" for line in _overflow(fixed)),
        "    }",
        "",
        "private:",
        f"    alignas({upper}_ARENA_ALIGNMENT) unsigned char arena_[{upper}_ARENA_BYTES];",
        "};",
        "",
        f"}} // namespace {version}",
        f"}} // namespace {prefix}",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"
