"""What alkaid's tracer, corrected, computes on numbers that depend on each other: every input of small programs."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgephys.targets.rtl.exact_tracing import exact_tracing
from edgephys.targets.rtl.logic import HARDWARE

FORMATS = [(1, 2), (0, 3)]
"""Sign and integer bits of the two inputs."""


def wrap(x, signed, bits, dropped):
    low = -(1 << bits - 1) if signed else 0
    return ((x >> dropped) - low) % (1 << bits) + low << dropped


UNARY = {
    "negated": (lambda x: -x, lambda x: -x),
    "times 3": (lambda x: x * 3, lambda x: x * 3),
    "times -2": (lambda x: x * -2, lambda x: x * -2),
    "plus 5": (lambda x: x + 5, lambda x: x + 5),
    "minus 7": (lambda x: x - 7, lambda x: x - 7),
    "relu": (lambda x: x.relu(), lambda x: np.maximum(x, 0)),
    "absolute": (abs, np.abs),
    "squared": (lambda x: x * x, lambda x: x * x),
    "at least -3": (lambda x: x.max_of(-3), lambda x: np.maximum(x, -3)),
    "at most 4": (lambda x: x.min_of(4), lambda x: np.minimum(x, 4)),
    "into 4 bits": (lambda x: x.quantize(1, 3, 0), lambda x: wrap(x, True, 4, 0)),
    "into 3 bits without a sign": (lambda x: x.quantize(0, 3, 0), lambda x: wrap(x, False, 3, 0)),
    "without 2 bits": (lambda x: x.quantize(1, 6, -2), lambda x: wrap(x, True, 5, 2)),
    "saturated": (lambda x: x.quantize(1, 3, 0, "SAT"), lambda x: np.clip(x, -8, 7)),
}
BINARY = {
    "sum": (lambda x, y: x + y, lambda x, y: x + y),
    "difference": (lambda x, y: x - y, lambda x, y: x - y),
    "product": (lambda x, y: x * y, lambda x, y: x * y),
    "larger": (lambda x, y: x.max_of(y), np.maximum),
    "smaller": (lambda x, y: x.min_of(y), np.minimum),
}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(sorted(UNARY)), st.integers(0, 9)),
        st.tuples(st.sampled_from(sorted(BINARY)), st.integers(0, 9), st.integers(0, 9)),
    ),
    min_size=1,
    max_size=8,
)
WIDEST = 1 << 20


def computed(steps):
    """Return what alkaid's program of all steps computes, and what numpy does.  Shape: each (input, step)."""
    from alkaid.trace import FVArray, HWConfig, trace

    rows = [range(-(1 << i) if k else 0, 1 << i) for k, i in FORMATS]
    x = np.array(list(itertools.product(*rows)))
    expected, kept = [x[:, 0], x[:, 1]], []
    for name, *operands in steps:
        result = (UNARY | BINARY)[name][1](*(expected[i % len(expected)] for i in operands))
        if np.abs(result).max() < WIDEST:
            kept.append((name, [i % len(expected) for i in operands]))
            expected.append(result)
    with exact_tracing():
        signed, integer = np.array(FORMATS).T
        inputs = np.asarray(FVArray.from_kif(signed, integer, np.zeros(2, int), HWConfig(*HARDWARE))).copy()
        symbols = list(inputs)
        for name, operands in kept:
            symbols.append((UNARY | BINARY)[name][0](*(symbols[i] for i in operands)))
        outputs = [symbol * 1.0 for symbol in symbols]
        program = trace(inputs, np.array(outputs))
    return program.predict(x.astype(float)), np.stack(expected, axis=1)


@given(STEPS)
@settings(deadline=None)
def test_a_program_of_dependent_numbers_computes_the_integers_of_each_step(steps):
    received, expected = computed(steps)
    assert np.array_equal(received, expected)


@pytest.mark.parametrize(
    "steps",
    [
        [("sum", 0, 1), ("larger", 2, 0)],
        [("sum", 0, 1), ("smaller", 2, 0)],
        [("sum", 0, 1), ("larger", 0, 2)],
        [("negated", 0), ("product", 0, 2), ("at least -3", 3)],
        [("times -2", 0), ("product", 0, 2), ("negated", 3), ("saturated", 4)],
    ],
    ids=lambda steps: ", ".join(name for name, *_ in steps),
)
def test_a_choice_by_a_sign_is_right_where_the_difference_has_none(steps):
    received, expected = computed(steps)
    assert np.array_equal(received, expected)
