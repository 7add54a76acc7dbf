"""Our own layer in hls4ml, through its extension interface: one class for every kernel of ours.

hls4ml has no exact layer for sums over an axis, products with own constants, requantisation with chosen
modes or concatenation of different binary points; the kernels in ``kernels/nnet_edgephys.h`` are.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from hls4ml.backends import get_backend
from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate
from hls4ml.model.layers import Layer, register_layer

from edgephys.fixed import Integers

HEADER = Path(__file__).parent / "kernels" / "nnet_edgephys.h"

KERNEL_LAYER = "EdgephysKernel"


def _initialize(layer: Any) -> None:
    layer.add_output_variable(layer.get_attr("shape"))
    if layer.get_attr("constant_data") is not None:
        layer.add_weights_variable(name="constant", var_name="c{index}", data="constant")


EdgephysKernel = type(KERNEL_LAYER, (Layer,), {"initialize": _initialize, "__doc__": "A call of one of our kernels."})


def _config(template: Any, layer: Any) -> str:
    """Return one struct a call: the sizes and tables that it is compiled for."""
    structs = []
    for number, call in enumerate(layer.get_attr("calls")):
        lines = [f"    static const unsigned {name} = {value};" for name, value in call.sizes.items()]
        for name, values in call.tables.items():
            lines += _table(name, values)
        if layer.get_attr("constant_data") is not None:
            lines.append(f"    typedef {layer.get_weights('constant').type.name} constant_t;")
        structs.append("\n".join([f"struct config{layer.index}_{number} {{", *lines, "};"]))
    return "\n".join(structs) + "\n"


def _table(name: str, values: Integers) -> list[str]:
    """Return a table as a function, for C++11 wants a static array's definition outside, once a program."""
    numbers = ", ".join(map(str, values.tolist()))
    return [
        f"    static unsigned {name}(unsigned i) {{",
        "        #pragma HLS INLINE",
        f"        static const unsigned values[{values.size}] = {{{numbers}}};",
        "        return values[i];",
        "    }",
    ]


def _calls(template: Any, layer: Any) -> str:
    """Return the calls of the kernel: the types and names of what each reads, then of what it makes."""
    output = layer.get_output_variable()
    constant = [layer.get_weights("constant").name] if layer.get_attr("constant_data") is not None else []
    kernel = layer.get_attr("kernel")
    calls = []
    for number, call in enumerate(layer.get_attr("calls")):
        edges = [*(layer.get_input_variable(layer.inputs[position]) for position in call.reads), output]
        types = ", ".join([*(edge.type.name for edge in edges), f"config{layer.index}_{number}"])
        arguments = ", ".join([*(edge.name for edge in edges), *constant])
        calls.append(f"nnet::edge_{kernel}<{types}>({arguments});")
    return "\n    ".join(calls)


_ConfigTemplate = type(
    "EdgephysConfigTemplate",
    (LayerConfigTemplate,),
    {"__init__": lambda self: LayerConfigTemplate.__init__(self, EdgephysKernel), "format": _config},
)
_CallTemplate = type(
    "EdgephysCallTemplate",
    (FunctionCallTemplate,),
    {
        "__init__": lambda self: FunctionCallTemplate.__init__(self, EdgephysKernel, [f"nnet_utils/{HEADER.name}"]),
        "format": _calls,
    },
)


@cache
def extend(backend: str) -> None:
    """Teach a backend of hls4ml our layer, once a process."""
    register_layer(KERNEL_LAYER, EdgephysKernel)
    known = get_backend(backend)
    known.register_template(_ConfigTemplate)
    known.register_template(_CallTemplate)
    known.register_source(HEADER)
