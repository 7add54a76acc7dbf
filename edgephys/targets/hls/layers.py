"""Our own layers in hls4ml, through its extension interface: one class for every kernel of ours.

hls4ml has no exact layer for sums over an axis, products with element-wise constants, requantisation with chosen modes,
or concatenation of different binary points. The kernels in ``kernels/nnet_edgephys.h`` are exact.
In a stream, a second class calls the same kernels for every pixel. Each layer is then a function, which is a process of
the dataflow. Kernels that take streams are in ``kernels/nnet_edgephys_stream.h``, which only projects with a stream
contain.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from hls4ml.backends import get_backend
from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate
from hls4ml.model.layers import Layer, register_layer

from edgephys.core.fixed import Fixed, Integers
from edgephys.targets.hls.step import ac_type, ap_type

HEADER = Path(__file__).parent / "kernels" / "nnet_edgephys.h"

STREAM_HEADER = HEADER.with_name("nnet_edgephys_stream.h")

KERNEL_LAYER = "EdgephysKernel"
PROCESS_LAYER = "EdgephysProcess"


def _initialize(layer: Any) -> None:
    layer.add_output_variable(layer.get_attr("shape"))
    if layer.get_attr("constant_data") is not None:
        layer.add_weights_variable(name="constant", var_name="c{index}", data="constant")


EdgephysKernel = type(KERNEL_LAYER, (Layer,), {"initialize": _initialize, "__doc__": "A call of one of our kernels."})
EdgephysProcess = type(PROCESS_LAYER, (Layer,), {"initialize": _initialize, "__doc__": "Such calls, pixel by pixel."})


def _config(template: Any, layer: Any) -> str:
    """Return one struct for each call: its compile-time sizes and tables."""
    structs = []
    for number, call in enumerate(layer.get_attr("calls")):
        lines = [
            f"    static const {'unsigned' if value >= 0 else 'int'} {name} = {value};"
            for name, value in call.sizes.items()
        ]
        for name, values in call.tables.items():
            lines += _table(name, values)
        for name, exponent in call.powers.items():
            lines += _power(name, exponent, layer.model.config.backend.name)
        if layer.get_attr("constant_data") is not None:
            lines.append(f"    typedef {layer.get_weights('constant').type.name} constant_t;")
        structs.append("\n".join([f"struct config{layer.index}_{number} {{", *lines, "};"]))
    return _own_kernel(layer) + "\n".join(structs) + "\n"


def _own_kernel(layer: Any) -> str:
    """Return the text of a kernel that is not in our header, to be compiled once."""
    text = layer.get_attr("kernel_text")
    if not text:
        return ""
    guard = f"EDGEPHYS_KERNEL_{layer.get_attr('kernel').upper()}"
    return f"#ifndef {guard}\n#define {guard}\nnamespace nnet {{\n\n{text}\n\n}} // namespace nnet\n#endif\n\n"


def _table(name: str, values: Integers) -> list[str]:
    """Return a table as a function, because C++11 needs the definition of a static array outside of its class."""
    numbers = ", ".join(map(str, values.tolist()))
    return [
        f"    static unsigned {name}(unsigned i) {{",
        "        #pragma HLS INLINE",
        f"        static const unsigned values[{values.size}] = {{{numbers}}};",
        "        return values[i];",
        "    }",
    ]


def _power(name: str, exponent: int, backend: str) -> list[str]:
    """Return 2**exponent as a function that gives a number of one bit."""
    fixed = Fixed(False, 1, exponent + 1)
    return [
        f"    static {(ac_type if backend == 'Catapult' else ap_type)(fixed)} {name}() {{",
        "        #pragma HLS INLINE",
        f"        return {2.0**exponent!r};",
        "    }",
    ]


def _calls(template: Any, layer: Any) -> str:
    """Return the calls of the kernel: types and names of the inputs, then of the output."""
    output = layer.get_output_variable()
    constant = _constant(layer)
    kernel = layer.get_attr("kernel")
    calls = []
    for number, call in enumerate(layer.get_attr("calls")):
        edges = [*(layer.get_input_variable(layer.inputs[position]) for position in call.reads), output]
        types = ", ".join([*(edge.type.name for edge in edges), f"config{layer.index}_{number}"])
        arguments = ", ".join([*(edge.name for edge in edges), *constant])
        calls.append(f"nnet::edge_{kernel}<{types}>({arguments});")
    return "\n    ".join(calls)


def _process(template: Any, layer: Any) -> str:
    """Return the structs, and the function that reads a pixel of each input and writes one, at each clock."""
    structs = _config(template, layer)
    if layer.get_attr("streams"):
        return structs
    output = layer.get_output_variable()
    inputs = [layer.get_input_variable(name) for name in layer.inputs]
    edges = {**{f"x{number}": edge for number, edge in enumerate(inputs)}, "y": output}
    constant = _constant(layer)
    period = layer.get_attr("calls")[0].sizes.get("period")
    differs = bool(constant) and period is not None and layer.get_weights("constant").data_length > period
    ports = ", ".join(f"hls::stream<{edge.type.name}> &{port}" for port, edge in edges.items())
    lines = [f"inline void process_{layer.name}({ports}) {{"]
    for port, edge in edges.items():
        lines += [f"    {edge.type.name}::value_type {port}_pixel[{edge.shape[-1]}];"]
        lines += [f"    #pragma HLS ARRAY_PARTITION variable={port}_pixel complete"]
    if differs:
        lines += [f"    config{layer.index}_0::constant_t own[{period}];"]
        lines += ["    #pragma HLS ARRAY_PARTITION variable=own complete"]
        lines += [f"    #pragma HLS ARRAY_PARTITION variable={constant[0]} cyclic factor={period}"]
    lines += [f"    for (unsigned beat = 0; beat < {output.shape[0]}; beat++) {{", "        #pragma HLS PIPELINE II=1"]
    lines += [f"        nnet::edge_read<{edges[port].type.name}>({port}, {port}_pixel);" for port in list(edges)[:-1]]
    if differs:
        lines += [
            f"        nnet::edge_constants<config{layer.index}_0::constant_t, {period}>({constant[0]}, beat, own);"
        ]
        constant = ["own"]
    for number, call in enumerate(layer.get_attr("calls")):
        ports_of_call = [*(f"x{read}" for read in call.reads), "y"]
        types = ", ".join(
            [*(f"{edges[port].type.name}::value_type" for port in ports_of_call), f"config{layer.index}_{number}"]
        )
        arguments = ", ".join([*(f"{port}_pixel" for port in ports_of_call), *constant])
        lines.append(f"        nnet::edge_{layer.get_attr('kernel')}<{types}>({arguments});")
    lines += [f"        nnet::edge_write<{output.type.name}>(y_pixel, y);", "    }", "}"]
    return structs + "\n".join(lines) + "\n"


def _started(template: Any, layer: Any) -> str:
    """Return the call of a process."""
    output, inputs = layer.get_output_variable(), [layer.get_input_variable(name) for name in layer.inputs]
    function, arguments = f"process_{layer.name}", [edge.name for edge in (*inputs, output)]
    if layer.get_attr("streams"):
        types = ", ".join(edge.type.name for edge in (*inputs, output))
        function = f"nnet::edge_{layer.get_attr('kernel')}<{types}, config{layer.index}_0>"
        arguments += _constant(layer)
    return f"{function}({', '.join(arguments)});"


def _constant(layer: Any) -> list[str]:
    """Return the name of the constant of a layer; none where it has none."""
    return [layer.get_weights("constant").name] if layer.get_attr("constant_data") is not None else []


def _templates(layer: Any, config: Any, call: Any, *headers: Path) -> tuple[Any, Any]:
    """Return hls4ml's two templates of a class of layers: its configuration and its call."""
    include = [f"nnet_utils/{header.name}" for header in headers]
    name = layer.__name__
    config_template = type(
        f"{name}ConfigTemplate",
        (LayerConfigTemplate,),
        {"__init__": lambda self: LayerConfigTemplate.__init__(self, layer), "format": config},
    )
    call_template = type(
        f"{name}CallTemplate",
        (FunctionCallTemplate,),
        {"__init__": lambda self: FunctionCallTemplate.__init__(self, layer, include), "format": call},
    )
    return config_template, call_template


@cache
def extend(backend: str) -> None:
    """Register our layers in a backend of hls4ml, once in each process."""
    hls4ml_backend = get_backend(backend)
    register_layer(KERNEL_LAYER, EdgephysKernel)
    register_layer(PROCESS_LAYER, EdgephysProcess)
    for template in (
        *_templates(EdgephysKernel, _config, _calls, HEADER),
        *_templates(EdgephysProcess, _process, _started, HEADER, STREAM_HEADER),
    ):
        hls4ml_backend.register_template(template)
    hls4ml_backend.register_source(HEADER)
