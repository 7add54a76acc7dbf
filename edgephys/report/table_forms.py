"""Short symbolic forms of learnt tables: the simplest one that equals a table within the table's own rounding.

Source: symbolic functions of edges, KAN (arXiv 2404.19756, section 2.5.1); symbolic distillation of a network's parts
(arXiv 2006.11287). Ours: a form is named only where its largest error is at most the stated share of the table's step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROUNDS = 60
"""Rounds in which a least-squares fit is weighted towards its largest errors."""
REFINED = 3
"""Candidates of a form, those of the least square error, whose largest error is made smaller."""
TINY = 1e-9
"""A coefficient below it, in steps of the table, is 0."""
SHIFTS = np.geomspace(1e-3, 30, 20)
"""Distances of a logarithm's pole below the lowest value, in units of the range of values."""
NARROWED = 5
"""Rounds in which the best distance is searched for."""


@dataclass(frozen=True)
class TableForm:
    """State the form of a table: its name, its coefficients, and its largest error in steps of the table.

    ``exact`` tells whether the form, rounded to the step, is the table.
    """

    name: str
    coefficients: tuple[float, ...]
    error: float
    exact: bool

    @property
    def expression(self) -> str:
        """The form as text; coefficients with four digits."""
        return (
            _SHAPES[self.name]
            .text(*(f"{of:.4g}" for of in self.coefficients))
            .replace("+ -", "- ")
            .replace("- -", "+ ")
        )


@dataclass(frozen=True)
class _Candidate:
    """Hold the columns whose sum a form is, and how coefficients of columns become those of the form.

    ``coefficients`` returns None where the fit is none of the form's, such as a kink at another place.
    """

    columns: Floats
    coefficients: Callable[[Floats], Floats | None] = lambda fit: fit


Candidates = Callable[[Floats, Floats], Iterator[_Candidate]]
"""Yields the candidates of a form, for the values of an input and a table."""


@dataclass(frozen=True)
class _Family:
    """State a form: its number of parameters, its candidates, its values and its text."""

    parameters: int
    candidates: Candidates
    values: Callable[..., Floats]
    text: Callable[..., str]


def form_of(values: Floats, table: NDArray[np.int64], step: float, within: float = 1.0) -> TableForm | None:
    """Return the simplest form of a table within some steps; None where no short form is.

    A form has at most half as many parameters as the table has entries. Simpler is what has fewer parameters; among
    forms of equally many the smallest error decides.
    Shape: values and table (entry,).  Units: values as the input's, table in steps of ``step``.
    """
    best: tuple[int, float] | None = None
    form = None
    for name, shape in _SHAPES.items():
        if 2 * shape.parameters > len(values) or (best is not None and shape.parameters > best[0]):
            continue
        for fit in _fits(shape, values, table.astype(np.float64), within):
            coefficients = np.where(np.abs(fit) < TINY, 0.0, fit) * _units(name, step)
            computed = shape.values(values, *coefficients)
            error = float(np.abs(computed / step - table).max())
            if error <= within and (best is None or error < best[1]):
                best = shape.parameters, error
                exact = bool(np.array_equal(np.rint(computed / step), table))
                form = TableForm(name, tuple(map(float, coefficients)), error, exact)
    return form


def _units(name: str, step: float) -> Floats:
    """Return the factor of each coefficient of a fit to steps: one that is a place on the input's axis has none."""
    shape = _SHAPES[name]
    return np.array([step] * (shape.parameters - 1) + [1.0 if name in _PLACED else step])


def _fits(shape: _Family, values: Floats, table: Floats, within: float) -> Iterator[Floats]:
    """Yield the coefficients of those candidates that may lie within some steps.

    The root mean square error of a least-squares fit is the smallest of all, so that a candidate whose own is larger
    than ``within`` is none. The others are weighted towards their largest errors (C. L. Lawson, 1961).
    """
    fits = []
    for candidate in shape.candidates(values, table):
        fit = np.linalg.lstsq(candidate.columns, table, rcond=None)[0]
        deviation = float(np.sqrt(np.mean((candidate.columns @ fit - table) ** 2)))
        if deviation <= within:
            fits.append((deviation, candidate))
    for _, candidate in sorted(fits, key=lambda pair: pair[0])[:REFINED]:
        coefficients = candidate.coefficients(_least_largest(candidate.columns, table))
        if coefficients is not None:
            yield coefficients


def _least_largest(columns: Floats, table: Floats) -> Floats:
    """Return the fit with about the smallest largest error."""
    weights = np.full(len(table), 1 / len(table))
    best, best_error = np.zeros(columns.shape[1]), np.inf
    for _ in range(ROUNDS):
        root = np.sqrt(weights)
        fit = np.linalg.lstsq(columns * root[:, None], table * root, rcond=None)[0]
        errors = np.abs(columns @ fit - table)
        if errors.max() < best_error:
            best, best_error = fit, errors.max()
        if errors.max() < 1e-9:
            break
        weights = weights * errors
        weights /= weights.sum()
    return best


# Candidates -------------------------------------------------------------------------------------------


def _polynomial(degree: int) -> Candidates:
    def candidates(x: Floats, _: Floats) -> Iterator[_Candidate]:
        yield _Candidate(x[:, None] ** np.arange(degree + 1))

    return candidates


def _steps(x: Floats, _: Floats) -> Iterator[_Candidate]:
    for before, after in pairwise(x):
        place = (before + after) / 2
        yield _Candidate(np.stack([np.ones_like(x), x > place], 1), partial(_placed, place))


def _kinks(left: float, right: float) -> Candidates:
    """Return the candidates of a + b * (left or right) * (x - c): for each gap between values, a kink c within it."""

    def candidates(x: Floats, _: Floats) -> Iterator[_Candidate]:
        for before, after in pairwise(x):
            sides = np.where(x > (before + after) / 2, right, left)
            columns = np.stack([np.ones_like(x), sides * x, sides], 1)
            reach = (after - before) / 2  # rounding moves a kink

            def coefficients(fit: Floats, low: float = before - reach, high: float = after + reach) -> Floats | None:
                if fit[1] == 0:
                    return None
                place = -fit[2] / fit[1]
                return np.array([fit[0], fit[1], place]) if low <= place <= high else None

            yield _Candidate(columns, coefficients)

    return candidates


def _logarithms(x: Floats, table: Floats) -> Iterator[_Candidate]:
    """Yield the logarithm with the best pole: the best of some, then of some between its neighbours."""

    def columns(shift: float) -> Floats:
        return np.stack([np.ones_like(x), np.log(x - x[0] + shift * (x[-1] - x[0]))], 1)

    def deviation(shift: float) -> float:
        fit = np.linalg.lstsq(columns(shift), table, rcond=None)[0]
        return float(np.sum((columns(shift) @ fit - table) ** 2))

    shifts = SHIFTS
    for _ in range(NARROWED):
        best = int(np.argmin([deviation(shift) for shift in shifts]))
        low, high = shifts[max(0, best - 1)], shifts[min(len(shifts) - 1, best + 1)]
        shift, shifts = shifts[best], np.geomspace(low, high, 9)
    yield _Candidate(columns(shift), partial(_placed, x[0] - shift * (x[-1] - x[0])))


def _placed(place: float, fit: Floats) -> Floats:
    return np.append(fit, place)


_SHAPES: dict[str, _Family] = {
    "constant": _Family(1, _polynomial(0), lambda x, a: np.full_like(x, a), lambda a: a),
    "linear": _Family(2, _polynomial(1), lambda x, a, b: a + b * x, lambda a, b: f"{a} + {b}·x"),
    "step": _Family(3, _steps, lambda x, a, b, c: a + b * (x > c), lambda a, b, c: f"{a} + {b}·[x > {c}]"),
    "relu": _Family(
        3,
        _kinks(0, 1),
        lambda x, a, b, c: a + b * np.maximum(x - c, 0),
        lambda a, b, c: f"{a} + {b}·max(0, x - {c})",
    ),
    "falling relu": _Family(
        3,
        _kinks(-1, 0),
        lambda x, a, b, c: a + b * np.maximum(c - x, 0),
        lambda a, b, c: f"{a} + {b}·max(0, {c} - x)",
    ),
    "absolute": _Family(
        3, _kinks(-1, 1), lambda x, a, b, c: a + b * np.abs(x - c), lambda a, b, c: f"{a} + {b}·|x - {c}|"
    ),
    "quadratic": _Family(
        3, _polynomial(2), lambda x, a, b, c: a + b * x + c * x**2, lambda a, b, c: f"{a} + {b}·x + {c}·x²"
    ),
    "logarithm": _Family(
        3, _logarithms, lambda x, a, b, c: a + b * np.log(x - c), lambda a, b, c: f"{a} + {b}·log(x - {c})"
    ),
    "cubic": _Family(
        4,
        _polynomial(3),
        lambda x, a, b, c, d: a + b * x + c * x**2 + d * x**3,
        lambda a, b, c, d: f"{a} + {b}·x + {c}·x² + {d}·x³",
    ),
}
_PLACED = ("step", "relu", "falling relu", "absolute", "logarithm")
"""Forms whose last coefficient is a place on the axis of the input."""
NAMES = tuple(_SHAPES)
"""Names of all forms, the simplest first."""
