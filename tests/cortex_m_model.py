"""A small model in C that follows the contract of the target, and can be written wrong."""

import shutil

import numpy as np
import pytest

from edgephys.targets.c import cortex_m

here = all(shutil.which(name) for name in (cortex_m.GCC, cortex_m.SIZE, cortex_m.QEMU))


needs_tools = pytest.mark.skipif(not here, reason="needs arm-none-eabi-gcc and qemu-system-arm")


WEIGHTS = np.array([[3, -5], [-7, 11], [13, -2]])


BIAS = np.array([100, -40])


HEADER = """\
#ifndef TOY_H
#define TOY_H
#include <stdint.h>
#define TOY_INPUTS 3
#define TOY_OUTPUTS 2
#define TOY_ARENA_BYTES {arena}
typedef int8_t toy_input_t;
typedef int16_t toy_output_t;
void toy_run(const toy_input_t *input, toy_output_t *output, void *arena);
#endif
"""


DENSE = """\
#include "toy.h"
static const int8_t WEIGHTS[3][2] = {{3, -5}, {-7, 11}, {13, -2}};
static const int16_t BIAS[2] = {100, -40};
void toy_run(const toy_input_t *input, toy_output_t *output, void *arena) {
    int32_t *sums = arena;
    for (int j = 0; j < 2; j++) {
        sums[j] = BIAS[j];
        for (int i = 0; i < 3; i++)
            sums[j] += input[i] * WEIGHTS[i][j];
    }
    for (int j = 0; j < 2; j++)
        output[j] = (toy_output_t)sums[j];
}
"""


FACTS = {
    "prefix": "toy",
    "input": {"shape": [3]},
    "output": {"shape": [2]},
    "arena_bytes": 8,
}


RUN = '#include "toy.h"\nvoid toy_run(const toy_input_t *input, toy_output_t *output, void *arena) {{ {} }}\n'


X = np.array([[1, 2, 3], [-128, 127, -128], [127, -128, 127], [0, 0, 0]])


def golden(x):
    return x @ WEIGHTS + BIAS


def body(*statements):
    return RUN.format(" ".join(statements))


def written(folder, source=DENSE, arena=8):
    """Write a model that follows the contract and return its folder."""
    (folder / "toy.h").write_text(HEADER.format(arena=arena))
    (folder / "toy.c").write_text(source)
    return folder
