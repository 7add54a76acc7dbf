"""Convolutions: loops in which a line of the field is copied once and multiplied by the lines of all kernels on it."""

from __future__ import annotations

import numpy as np

from edgephys.graph.ops import Dense
from edgephys.targets.c.access import Index, access, position, size_of, summed
from edgephys.targets.c.loops import SumLoop, indented, loop


def convolution(loops: SumLoop, op: Dense, window: tuple[int, int]) -> tuple[list[str], int]:
    """Return the loops of a convolution: a line of the field is multiplied by the lines of all kernels on it."""
    node, program, tables, value = loops.node, loops.writer.program, loops.writer.tables, loops.accumulator
    view = program.graph.by_name[node.inputs[0]]
    buffer, positions = program.located(view.inputs[0], node)
    height, width, channels = positions.shape
    high, wide = window
    outputs = node.shape[-1]
    kernels = (
        op.constant.integers.reshape(high, wide, channels, outputs).transpose(0, 2, 3, 1).reshape(-1, outputs, wide)
    )
    nonzero = kernels.any(-1)  # (row of the kernel and channel, output)
    starts, which = np.concatenate([[0], np.cumsum(nonzero.sum(1))]), np.nonzero(nonzero)[1]
    left, top = (wide - 1) // 2, (high - 1) // 2
    start, taps = tables.name(starts), kernels[nonzero]
    where = position(access(positions), ("y", "i", "c"), tables)
    weight = "j" if wide == 1 else f"{wide} * j"
    products = " + ".join(
        f"{tables.entry(taps, summed(dx, [(1, weight)]), value.ctype)} * line[{summed(dx, [(1, 'i')])}]"
        for dx in range(wide)
    )
    multiplying = [
        f"{value.ctype} *const to = sums + {width} * {tables.entry(which, 'j')};",
        *loop("i", width, [f"to[i] += {products};"]),
    ]
    line = [f"line[{i}] = 0;" for i in (*range(left), *range(left + width, width + wide - 1))]
    channel = [
        f"const int group = {summed(0, [(channels, 'dy'), (1, 'c')])};",
        f"if ({start}[group] == {start}[group + 1])",
        "    continue;",
        *loop("i", width, [f"line[{summed(left, [(1, 'i')])}] = ({value.ctype}){buffer.name}[{where}];"]),
        f"for (int j = {start}[group]; j < {start}[group + 1]; j++) {{",
        *indented(multiplying),
        "}",
    ]
    rows = [
        f"const int y = row + dy - {top};",
        f"if (y < 0 || y >= {height})",
        "    continue;",
        *loop("c", channels, channel),
    ]
    place = summed(0, [(width, "row"), (1, "i")])
    output: Index = "n" if outputs > 1 else 0
    ends = [
        f"const int r = {place};",
        "(void)r;",
        f"const {value.ctype} sum = sums[{summed(0, [(width, output), (1, 'i')])}];",
        *loops.finish(("r", output), value),
    ]
    last = loop("i", width, ends)
    every = [
        f"{value.ctype} sums[{outputs * width}], line[{width + wide - 1}];",
        *line,
        *loop("i", outputs * width, ["sums[i] = 0;"]),
        *loop("dy", high, rows),
        *(loop("n", outputs, last) if outputs > 1 else last),
    ]
    return loop("row", height, every), (outputs * width + width + wide - 1) * size_of(value.ctype)
