"""Draw the edges of a network of learnt tables: a grid of neurons by inputs for each layer, a function in each cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import UsageError
from edgephys.graph.table_layers import TableLayer
from edgephys.models.standardise import Standardisation
from edgephys.report.plot import INK, png, svg

MAKER = "edgephys draw"
"""Text by which a picture of ours is known."""
ROWS, COLUMNS = 16, 32
"""Cells of the largest grid; of a layer with more edges those that carry most are drawn."""
WIDE, TALL = 0.5, 0.42
"""Inches of a cell."""
MARGIN = 0.08
"""Share of a cell that stays free around its function."""
DEEPEST = 0.05
"""Share of decisions from which on a cell has the darkest colour."""
PALE, DEEP = np.array([1.0, 1.0, 1.0]), np.array([0.55, 0.75, 0.95])


@dataclass(frozen=True, eq=False)
class InputAxis:
    """State one input of a layer: its name, and its values in the units in which they are drawn."""

    name: str
    values: NDArray[np.float64]

    @property
    def span(self) -> str:
        """The first and the last value."""
        return f"{self.values[0]:.4g} … {self.values[-1]:.4g}"


@dataclass(frozen=True, eq=False)
class DrawnLayer:
    """Hold what is drawn of a layer: its tables, the share of decisions of each edge, its inputs and its neurons."""

    layer: TableLayer
    shares: NDArray[np.float64]
    axes: tuple[InputAxis, ...]
    neurons: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether all edges fit."""
        return self.shares.size <= ROWS * COLUMNS

    @property
    def edges(self) -> list[tuple[int, int]]:
        """The edges that are drawn, input and neuron, those that carry most first; pruned ones are left out."""
        inputs, neurons = np.nonzero(~self.layer.pruned)
        spread = self.layer.tables.std(1)
        order = np.lexsort((-spread[inputs, neurons], -self.shares[inputs, neurons]))
        chosen = order if self.is_whole else order[: ROWS * COLUMNS]
        return [(int(inputs[at]), int(neurons[at])) for at in chosen]

    @property
    def left_out(self) -> int:
        """Number of edges that are neither pruned nor drawn."""
        return int((~self.layer.pruned).sum()) - len(self.edges)


def axes_of(layer: TableLayer, names: Sequence[str], ready: Standardisation | None) -> tuple[InputAxis, ...]:
    """Return the inputs of a layer; with a standardisation in the units of the raw features."""
    step = layer.source.fixed.step
    values = [np.asarray(layer.values(channel) * step, np.float64) for channel in range(layer.shape[0])]
    if ready is not None:
        values = [_raw(ready, channel, of) for channel, of in enumerate(values)]
    return tuple(InputAxis(name, of) for name, of in zip(names, values, strict=True))


def _raw(ready: Standardisation, feature: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the raw features that are standardised to values."""
    centre = ready.centres[feature] * ready.grids[feature].step
    raw: NDArray[np.float64] = centre + values * 2.0 ** ready.gain_fractions[feature] / ready.gains[feature]
    return raw


def require_picture(path: Path) -> None:
    """Raise UsageError for a file that is neither .png nor .svg, or that is there and is no picture of ours."""
    if path.suffix not in (".png", ".svg"):
        raise UsageError(
            f"--out must end in .png or .svg, not '{path.name}'; or add --forms to write the table of forms"
        )
    if path.exists() and not (path.is_file() and MAKER.encode() in path.read_bytes()[:10_000]):
        raise UsageError(f"{path} exists and is no picture of ours: it is not replaced; choose another --out")


def drawn(layers: Sequence[DrawnLayer], title: str, caption: str, suffix: str) -> bytes:
    """Return the picture of layers as a file of a suffix, .png or .svg."""
    make: Callable[..., bytes] = png if suffix == ".png" else svg
    return make(figure(layers, title, caption), maker=MAKER)


def figure(layers: Sequence[DrawnLayer], title: str, caption: str) -> Any:
    """Return the picture as a figure of matplotlib: axes for each layer, from the input on."""
    from matplotlib.figure import Figure

    grids = [_Grid.of(layer) for layer in layers]
    heights = [grid.rows * TALL + 0.9 for grid in grids]
    width = max(8.0, 1.6 + WIDE * max(grid.columns for grid in grids))
    whole = Figure(figsize=(width, sum(heights) + 0.3 + 0.22 * (2 + caption.count("\n"))), layout="constrained")
    panels = whole.subplots(len(grids), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, grid in zip(panels, grids, strict=True):
        grid.draw(axes)
    whole.suptitle(title, fontsize=11)
    whole.supxlabel(caption, fontsize=7.5, color=INK)
    return whole


@dataclass(frozen=True, eq=False)
class _Grid:
    """Place the edges of a layer in cells: neurons by inputs with the longer side across, or in order of share."""

    of_layer: DrawnLayer
    rows: int
    columns: int
    cells: dict[tuple[int, int], tuple[int, int]]
    across: str

    @staticmethod
    def of(layer: DrawnLayer) -> _Grid:
        """Return the grid of a layer."""
        inputs, neurons = layer.layer.shape
        if not layer.is_whole:
            edges = layer.edges
            rows = max(1, -(-len(edges) // COLUMNS))
            return _Grid(layer, rows, COLUMNS, {edge: divmod(at, COLUMNS) for at, edge in enumerate(edges)}, "")
        if neurons > inputs:
            return _Grid(layer, inputs, neurons, {edge: edge for edge in layer.edges}, "neurons")
        return _Grid(layer, neurons, inputs, {(i, o): (o, i) for i, o in layer.edges}, "inputs")

    def draw(self, axes: Any) -> None:
        """Draw the cells, their functions and their labels."""
        from matplotlib.collections import LineCollection, PolyCollection

        shares, most = self.of_layer.shares, self._most
        curves, zeros, boxes, colours = [], [], [], []
        for (channel, neuron), (row, column) in self.cells.items():
            curves.append(self._curve(channel, neuron, row, column, int(most[neuron])))
            zeros.append([(column, row + 0.5), (column + 1, row + 0.5)])
            boxes.append([(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1)])
            share = float(shares[channel, neuron])
            colours.append(PALE + (DEEP - PALE) * min(1.0, np.nan_to_num(share) / DEEPEST))
            axes.text(column + 0.04, row + 0.06, self._label(channel, neuron, share), fontsize=4.5, va="top", color=INK)
        axes.add_collection(PolyCollection(boxes, facecolors=colours, edgecolors="#bbbbbb", linewidths=0.4))
        axes.add_collection(LineCollection(zeros, colors="#cccccc", linewidths=0.4))
        axes.add_collection(LineCollection(curves, colors="#204a87", linewidths=0.8))
        axes.set(xlim=(0, self.columns), ylim=(self.rows, 0))
        self._name(axes)

    @property
    def _most(self) -> NDArray[np.int64]:
        """The largest magnitude of the entries of each neuron, in steps: the scale of its cells."""
        return np.asarray(np.maximum(1, np.abs(self.of_layer.layer.tables).max((0, 1))))

    def _curve(self, channel: int, neuron: int, row: int, column: int, most: int) -> NDArray[np.float64]:
        """Return the steps of a table within its cell.  Shape: (point, 2)."""
        layer = self.of_layer.layer
        entries = layer.entries(channel)[:, neuron]
        x = MARGIN + (1 - 2 * MARGIN) * np.repeat(np.linspace(0, 1, len(entries) + 1), 2)[1:-1]
        y = 0.5 - (0.5 - MARGIN) * np.repeat(entries / most, 2)
        bends = np.r_[True, (y[1:-1] != y[:-2]) | (y[1:-1] != y[2:]), True]
        return np.stack([column + x, row + y], 1)[bends]

    @property
    def _alike(self) -> bool:
        """Whether all inputs have the same values."""
        return len({axis.span for axis in self.of_layer.axes}) == 1

    def _label(self, channel: int, neuron: int, share: float) -> str:
        edge = "" if self.of_layer.is_whole else f"{channel}→{neuron} "
        return edge + (f"{100 * share:.1f}" if share >= 0.0005 else "")

    def _name(self, axes: Any) -> None:
        """Put the names of inputs and neurons beside the cells, and the axes of a cell above them."""
        layer, scales = self.of_layer, self._most * self.of_layer.layer.lookup.fixed.step
        common = f"x: {layer.axes[0].span}" if self._alike else "x: the range of each input"
        edges = f"{len(self.cells)} of {layer.shares.size} edges"
        axes.set_title(f"{layer.layer.name}: {edges}; {common}; y: ± of each neuron", fontsize=8, loc="left")
        axes.tick_params(length=0, labelsize=6)
        axes.spines[:].set_visible(False)
        if not layer.is_whole:
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel("input→neuron, those that carry most first", fontsize=7)
            return
        names = [axis.name if self._alike else f"{axis.name}\n{axis.span}" for axis in layer.axes]
        neurons = [f"{name}\n±{scale:.3g}" for name, scale in zip(layer.neurons, scales, strict=True)]
        across, down = (neurons, names) if self.across == "neurons" else (names, neurons)
        axes.set_xticks(np.arange(len(across)) + 0.5, across)
        axes.set_yticks(np.arange(len(down)) + 0.5, down)
        axes.set_xlabel("neuron" if self.across == "neurons" else "input", fontsize=7)
        axes.set_ylabel("input" if self.across == "neurons" else "neuron", fontsize=7)
