"""What whoever calls emitted C needs, in the folder ``example`` of a project: a program, a Makefile and a README.

They are for the reader to change: no result depends on them, and no command of ours compiles or runs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from edgephys.core.fixed import Fixed, Integers
from edgephys.targets.target import Example

FOLDER = "example"
MOST_VECTORS, MOST_NUMBERS = 10, 20_000
"""Vectors of the example, fewer where their inputs and outputs are over so many numbers."""
LINE = 20
"""Numbers on a line of a table."""

MAIN = """\
/* Calls {prefix}_run on the vectors of vectors.h and compares every integer with the expected one: `make`.
 *
 * Change this file as you like; {prefix}.h says what the function takes and returns.
 */
#include "{prefix}.h"
#include "vectors.h"

#include <stdio.h>

#define STEP {step!r} /* value of 1 in an output: 2 to the power of -{upper}_OUTPUT_FRACTION */

/* Memory for what is between the layers; every thread that calls the model needs one. */
static union {{
    unsigned char bytes[{upper}_ARENA_BYTES];
    int64_t aligned;
}} arena;

int main(void)
{{
    int exact = 0;
    for (int v = 0; v < VECTORS; v++) {{
        {prefix}_output_t output[{upper}_OUTPUTS];
        int equal = 1;
        {prefix}_run(inputs[v], output, arena.bytes);
        for (int i = 0; i < {upper}_OUTPUTS; i++)
            equal = equal && output[i] == expected[v][i];
        exact += equal;
        printf("vector %d:", v);
        for (int i = 0; i < {upper}_OUTPUTS && i < 8; i++)
            printf(" %g", (double)output[i] * STEP);
        printf(equal ? "\\n" : " (differs)\\n");
    }}
    printf("%d of %d vectors: every integer as expected\\n", exact, VECTORS);
    return exact == VECTORS ? 0 : 1;
}}
"""

VECTORS = """\
/* Held-out inputs of the project and the outputs that the golden model gives, in steps of their formats. */
#include "{prefix}.h"

#define VECTORS {count}

static const {prefix}_input_t inputs[VECTORS][{upper}_INPUTS] = {{
{inputs}
}};

static const {prefix}_output_t expected[VECTORS][{upper}_OUTPUTS] = {{
{expected}
}};
"""

MAKEFILE = """\
# `make` builds the example and runs it. CC and CFLAGS are yours: make CC=clang CFLAGS=-O3
CFLAGS ?= -std=c99 -O2 -Wall -Wextra -Wpedantic
MODEL := ../firmware

run: example
	./example

example: main.c vectors.h $(MODEL)/{prefix}.c $(MODEL)/{prefix}.h
	$(CC) $(CFLAGS) -I$(MODEL) main.c $(MODEL)/{prefix}.c -o $@

clean:
	rm -f example

.PHONY: run clean
"""

README = """\
# {name} in C

`make` in this folder builds `main.c` with the model and runs it: it compares {count} held-out vectors with the integers
that the golden model gives. `edgephys verify` of the project compares all of its vectors, and every layer.

## Files

{files}

The sources are C99 on integers: no heap, no floating point, no state, no other header than `stdint.h` and `stddef.h`.
Copy `{prefix}.c` and `{prefix}.h` into your program. Several models link into one program:
`edgephys emit --prefix NAME` chooses what all names of a model begin with.

## Call

```c
#include "{prefix}.h"

static {prefix}_input_t input[{upper}_INPUTS];
static {prefix}_output_t output[{upper}_OUTPUTS];
static int64_t arena[({upper}_ARENA_BYTES + 7) / 8];

{prefix}_run(input, output, arena);
```

`arena` is memory for what is between the layers: {arena} bytes, aligned to {alignment}. Calls with arenas of their own
may run at once. Input, output and arena must not overlap. Constants take {const} bytes.

## Input and output

| | C type | shape | format | integers | value of 1 |
| --- | --- | --- | --- | --- | --- |
| input | `{prefix}_input_t` = `{input_type}` | {input_shape} | `{input_format}` | {input_range} | {input_step} |
| output | `{prefix}_output_t` = `{output_type}` | {output_shape} | `{output_format}` | {output_range} | {output_step} |

{order}An input outside its range has no defined result.
{meaning}"""

QUANTISE = """
To make an input of a value: divide by the value of 1, round half to even, and limit to the range. In C++ `{prefix}.hpp`
does it (`{prefix}::Model`).
"""
STANDARDISED = """
The inputs are standardised features: `standardisation` in `../model/card.json` states how they follow from raw ones.
`edgephys emit MODEL --to c --raw-inputs` emits sources that do this themselves, in integers.
"""
RAW = """
The inputs are raw features: the sources standardise them, in integers, as `standardisation` in `../model/card.json`
states. To make an input of a raw feature: divide by its value of 1, round half to even, and limit to its own range.

| feature | value of 1 | integers |
| --- | --- | --- |
{rows}
"""


def write(project: Path, name: str, facts: Mapping[str, Any], example: Example) -> None:
    """Write main.c, vectors.h, Makefile and README.md into the example folder of a project."""
    folder, prefix = project / FOLDER, facts["prefix"]
    folder.mkdir()
    names = {"prefix": prefix, "upper": prefix.upper()}
    numbers = prod(facts["input"]["shape"]) + prod(facts["output"]["shape"])
    count = max(1, min(MOST_VECTORS, MOST_NUMBERS // numbers, len(example.inputs)))
    inputs, expected = _table(example.inputs[:count]), _table(example.expected[:count])
    texts = {
        "main.c": MAIN.format(**names, step=2.0 ** -facts["output"]["fraction"]),
        "vectors.h": VECTORS.format(**names, count=count, inputs=inputs, expected=expected),
        "Makefile": MAKEFILE.format(**names),
        "README.md": _readme(name, facts, example, count, names),
    }
    for file, text in texts.items():
        (folder / file).write_text(text)


def _table(vectors: Integers) -> str:
    """Return vectors as initialisers of C, one a row of braces.  Shape: (vector, ...)."""
    rows = []
    for vector in vectors.reshape(len(vectors), -1):
        words = [_number(int(value)) for value in vector]
        lines = [", ".join(words[at : at + LINE]) for at in range(0, len(words), LINE)]
        rows.append("    {" + ",\n     ".join(lines) + "}")
    return ",\n".join(rows)


def _number(value: int) -> str:
    """Return an integer constant of C; the lowest one of 32 bits and what is wider have no plain form."""
    return str(value) if abs(value) < 1 << 31 else f"INT64_C({value})"


def _readme(name: str, facts: Mapping[str, Any], example: Example, count: int, names: Mapping[str, str]) -> str:
    ports: dict[str, str] = {}
    for port in ("input", "output"):
        fact = facts[port]
        fixed = Fixed.of_record(fact["fixed"])
        ports |= {
            f"{port}_type": fact["type"],
            f"{port}_shape": _shape(fact["shape"]),
            f"{port}_format": str(fixed),
            f"{port}_range": f"{fixed.low}..{fixed.high}",
            f"{port}_step": _step(fixed),
        }
    return README.format(
        **names,
        **ports,
        name=name,
        count=count,
        files="\n".join(_files(facts)),
        arena=facts["arena_bytes"],
        alignment=facts["arena_alignment"],
        const=facts["const_bytes"],
        order=_order(facts["input"]["shape"], example.features),
        meaning=_meaning(facts, example, names),
    )


def _files(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each source."""
    prefix = facts["prefix"]
    said = {
        f"{prefix}.h": "what the model takes and returns; include it",
        f"{prefix}.c": "the model",
        f"{prefix}.hpp": "the same in C++, with values in place of integers",
        f"{prefix}_batch.c": f"`{prefix}_run_batch`: many events in a call",
        f"{prefix}_rollout.c": f"`{prefix}_rollout`: as many steps as asked for, each on the output of the one before",
    }
    return [f"- `../firmware/{file}`: {said[file]}" for file in facts["files"]]


def _step(fixed: Fixed) -> str:
    return f"2^{-fixed.fraction}" if fixed.fraction else "1"


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "1"


def _order(shape: Sequence[int], features: Sequence[str]) -> str:
    """Return where an element of the input lies."""
    letters = "ijkl"[: len(shape)]
    strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    terms = [f"{stride} {letter}" if stride > 1 else letter for stride, letter in zip(strides, letters, strict=True)]
    place = "".join(f"[{letter}]" for letter in letters)
    columns = f"The last axis is {', '.join(features)}." if features else ""
    number = f"Element {place} of the input is number {' + '.join(terms)}: row after row." if len(shape) > 1 else ""
    return "".join(f"{line}\n" for line in (number, columns) if line)


def _meaning(facts: Mapping[str, Any], example: Example, names: Mapping[str, str]) -> str:
    """Return what the numbers of input and output are."""
    classes = f"\nThe outputs are those of {', '.join(example.outputs)}, in this order.\n" if example.outputs else ""
    if example.grids:
        rows = [
            f"| {feature} | {_step(grid)} | {grid.low}..{grid.high} |"
            for feature, grid in zip(example.features, example.grids, strict=True)
        ]
        return RAW.format(rows="\n".join(rows)) + classes
    return QUANTISE.format(**names) + (STANDARDISED if example.standardised else "") + classes
