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

HEADER = Path(__file__).parent / "kernels" / "nnet_edgephys.h"

KERNEL_LAYER = "EdgephysKernel"


def _initialize(layer: Any) -> None:
    layer.add_output_variable(layer.get_attr("shape"))
    if layer.get_attr("constant_data") is not None:
        layer.add_weights_variable(name="constant", var_name="c{index}", data="constant")


EdgephysKernel = type(KERNEL_LAYER, (Layer,), {"initialize": _initialize, "__doc__": "A call of one of our kernels."})


def _config(template: Any, layer: Any) -> str:
    """Return one struct an input: the sizes that its call is compiled for."""
    structs = []
    for position, sizes in enumerate(layer.get_attr("sizes")):
        lines = [f"    static const unsigned {name} = {value};" for name, value in sizes.items()]
        if layer.get_attr("constant_data") is not None:
            lines.append(f"    typedef {layer.get_weights('constant').type.name} constant_t;")
        structs.append("\n".join([f"struct config{layer.index}_{position} {{", *lines, "};"]))
    return "\n".join(structs) + "\n"


def _calls(template: Any, layer: Any) -> str:
    """Return one call an input."""
    output = layer.get_output_variable()
    constant = f", {layer.get_weights('constant').name}" if layer.get_attr("constant_data") is not None else ""
    calls = []
    for position, name in enumerate(layer.inputs):
        source = layer.get_input_variable(name)
        types = f"{source.type.name}, {output.type.name}, config{layer.index}_{position}"
        kernel = layer.get_attr("kernel")
        calls.append(f"nnet::edge_{kernel}<{types}>({source.name}, {output.name}{constant});")
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
