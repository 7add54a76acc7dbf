"""The operators and constants of an ONNX model, and the tensors that hold each edge of the Graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgephys.core.errors import ModelError
from edgephys.targets.onnx.plan import DOUBLE, SINGLE

PLAIN, ROWS, CHANNELS_FIRST = "plain", "rows", "channels_first"
"""Layouts: (N, *shape); (N * rows, channel); (N, channel, height, width)."""
TYPES = {name: helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in (SINGLE, DOUBLE)}


@dataclass(frozen=True)
class Form:
    """State a tensor that holds an edge: its layout and type, and the power of two by which it is multiplied.

    ``quantised`` is the number of bits of the integers that a DequantizeLinear read, else 0. A reshape keeps it:
    runtimes recognise quantised tensors behind a reshape.
    """

    tensor: str
    layout: str
    carrier: str
    unit: int
    quantised: int = 0


class Tensors:
    """Collect operators and constants. Each edge has one form; it is converted where a reader needs another."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.nodes: list[Any] = []
        self.forms: dict[str, Form] = {}
        self._shapes = shapes
        self._outputs: set[str] = set()
        self._constants: dict[str, NDArray[Any]] = {}
        self._converted: dict[str, Form] = {}

    @property
    def initialisers(self) -> list[Any]:
        """The constants as tensors, in the order in which they were added."""
        return [numpy_helper.from_array(array, name) for name, array in self._constants.items()]

    # Forms -------------------------------------------------------------------------------------

    def form(self, edge: str, layout: str | None = None, carrier: str | None = None, unit: int | None = None) -> Form:
        """Return an edge in a form, converted where it must be; None keeps what it is."""
        form = self.forms[edge]
        if carrier is not None and carrier != form.carrier:
            other = replace(form, carrier=carrier, quantised=0)
            form = self._converted_to(other, "Cast", [form.tensor], carrier, to=TYPES[carrier])
        if unit is not None and unit != form.unit:
            factor = self.number(f"factor_{unit - form.unit}_{form.carrier}", 2.0 ** (unit - form.unit), form.carrier)
            other = replace(form, unit=unit, quantised=0)
            form = self._converted_to(other, "Mul", [form.tensor, factor], f"unit_{unit}")
        return self.laid_out(edge, form, layout or form.layout)

    def laid_out(self, edge: str, form: Form, layout: str) -> Form:
        """Return a form of an edge in another layout."""
        if layout == form.layout:
            return form
        shape = self._shapes[edge]
        if form.layout == CHANNELS_FIRST:
            form = self._converted_to(replace(form, layout=PLAIN), "Transpose", [form.tensor], PLAIN, perm=[0, 2, 3, 1])
        elif form.layout == ROWS:
            form = self._converted_to(replace(form, layout=PLAIN), "Reshape", [form.tensor, self.shape(shape)], PLAIN)
        if layout == ROWS:
            rows = self.shape(shape[-1:])
            return self._converted_to(replace(form, layout=ROWS), "Reshape", [form.tensor, rows], ROWS)
        if layout == CHANNELS_FIRST:
            return self._converted_to(
                replace(form, layout=layout), "Transpose", [form.tensor], layout, perm=[0, 3, 1, 2]
            )
        return form

    def _converted_to(self, form: Form, operator: str, inputs: list[str], what: str, **attributes: Any) -> Form:
        tensor = f"{inputs[0]}_{what}"
        if tensor not in self._converted:
            self._converted[tensor] = replace(form, tensor=self.add(operator, inputs, tensor, **attributes))
        return self._converted[tensor]

    def named(self, edge: str, tensor: str) -> str:
        """Rename the output of the last operator to the edge that it holds; return the tensor that holds the edge."""
        if tensor in {form.tensor for form in (*self.forms.values(), *self._converted.values())}:
            return tensor  # the tensor of another edge: no operator was added
        self.nodes[-1].output[0] = edge
        self._outputs.add(edge)
        return edge

    # Operators and constants -------------------------------------------------------------------

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add an operator and return its output; a name is used once."""
        if output in self._outputs or output in self._constants:
            raise _duplicate(output)
        self._outputs.add(output)
        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"{output}:{operator}", **attributes))
        return output

    def number(self, name: str, values: Any, carrier: str) -> str:
        """Add floats."""
        return self.constant(name, np.asarray(values, carrier))

    def scale(self, exponent: int) -> str:
        """Add the scale of a quantised number, a power of two."""
        return self.number(f"scale_{exponent}", 2.0**exponent, SINGLE)

    def zero(self, kind: Any, point: int) -> str:
        """Add the zero point of a quantised number."""
        return self.constant(f"zero_{np.dtype(kind)}_{point}", np.array(point, kind))

    def dequantised(self, name: str, integers: NDArray[Any], exponent: int, point: int = 0) -> str:
        """Add constant integers and the operator that gives their values."""
        zero = [self.zero(integers.dtype, point)] if point else []
        return self.add(
            "DequantizeLinear", [self.constant(f"{name}_integers", integers), self.scale(exponent), *zero], name
        )

    def shape(self, shape: tuple[int, ...]) -> str:
        """Add a shape with one more axis before it, of any length, for vectors or rows."""
        return self.constant("_".join(map(str, ("shape_n", *shape))), np.array([-1, *shape]))

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Add an array; a name always stands for the same array."""
        if name in self._outputs or not np.array_equal(self._constants.setdefault(name, array), array):
            raise _duplicate(name)
        return name


def _duplicate(name: str) -> ModelError:
    return ModelError(f"ONNX: tensor '{name}' must be one, not two; give the graph's layers other names")
