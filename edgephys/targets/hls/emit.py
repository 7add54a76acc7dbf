"""Graph -> a complete hls4ml project; the only owner of hls4ml.

The layer list is built from the Graph with every type. hls4ml's result is compared with the Graph before anything is
written: no type is inferred, no value is rounded twice.

A field is streamed: one pixel a clock through processes that each compute one layer (``stream``).
"""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import io
import json
from collections.abc import Iterator
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any

from edgephys.core.errors import ModelError, ProjectError
from edgephys.core.fixed import Fixed, Integers
from edgephys.graph import evaluate
from edgephys.graph.feedback import feedback
from edgephys.graph.graph import Graph, check
from edgephys.targets.fpga import STREAM
from edgephys.targets.hls import rollout
from edgephys.targets.hls.options import HlsOptions
from edgephys.targets.hls.step import HlsStep, ac_type, ap_type, clean
from edgephys.targets.hls.steps import plan
from edgephys.targets.hls.stream import Times, connected, is_streamed, times
from edgephys.targets.rollout import not_streamed


def emit(graph: Graph, folder: Path, options: HlsOptions) -> dict[str, Any]:
    """Write a synthesizable hls4ml project under ``folder`` and return its facts for the manifest.

    Exact: every type is the Graph's; two emissions of a graph are the same bytes.
    Raises: UsageError for an option, ModelError naming the layer that cannot be computed exactly; nothing is
    written then.
    """
    streamed = is_streamed(check(graph), options.io, options.backend)
    if options.rollout and not streamed:
        raise not_streamed(graph.name)
    fed_back = feedback(graph, options.rollout) if options.rollout else None
    steps = plan(graph, streamed)
    one_bit = next((step for step in steps if step.formats["result"].bits == 1), None)
    if one_bit is not None and options.backend == "Catapult":
        raise ModelError(
            f"layer '{one_bit.node.layer}': {one_bit.formats['result']} is not exact in hls4ml's Catapult, which makes "
            f"it 2 bits; use 2 bits or backend Vitis"
        )
    if (folder / "firmware").exists():
        raise ProjectError(f"{folder}: expected no project there, found firmware/; emit into an empty folder")
    top = f"{clean(graph.name)}_top"
    top = top if top[0].isalpha() else f"m{top}"
    steps = connected(steps) if streamed else steps
    model = _converted(steps, folder, top, options, "io_stream" if streamed else "io_parallel")
    check_types(model, steps)
    stream_times = times(steps) if streamed else None
    if stream_times is not None:
        _set_depths(model, stream_times)
    _mark_probes(model, layer_ends(graph, steps), streamed)
    _write(model, folder)
    facts = _facts(graph, model, steps, top, options)
    if stream_times is None:
        return facts
    _copy_header(folder)
    facts |= _stream_facts(graph, model, stream_times)
    if fed_back is not None:
        (folder / "firmware" / f"{rollout.name_of(top)}.cpp").write_text(rollout.source(graph, fed_back, top))
        facts["rollout"] = {"state": fed_back.state, "top": rollout.name_of(top)}
    return facts


def precision(fixed: Fixed) -> str:
    """Return a format as hls4ml's configuration spells it."""
    name = "fixed" if fixed.signed else "ufixed"
    return f"{name}<{fixed.bits},{fixed.integer},{fixed.rounding.value},{fixed.overflow.value}>"


def _converted(steps: tuple[HlsStep, ...], folder: Path, top: str, options: HlsOptions, io_type: str) -> Any:
    from hls4ml.backends import get_backend
    from hls4ml.model.graph import ModelGraph

    from edgephys.targets.hls.layers import extend

    extend(options.backend)
    config = get_backend(options.backend).create_initial_config(
        part=options.part, clock_period=options.clock_ns, io_type=io_type
    )
    precisions = {
        step.name: {"Precision": {name: precision(fixed) for name, fixed in step.formats.items()}} for step in steps
    }
    style = "dataflow" if options.backend == "Catapult" else "auto"
    defaults = {"ReuseFactor": 1, "Strategy": "Latency", "BitExact": False, "PipelineStyle": style}
    config["HLSConfig"] = {"Model": defaults, "LayerName": precisions}
    config |= {"Backend": options.backend, "ProjectName": top, "OutputDir": str(folder)}
    # Vivado HLS ends in an error at a larger array
    config["MaximumSize"] = max(4096, largest_array(steps, io_type == "io_stream"))
    with _quiet(top), _explained(top):
        return ModelGraph.from_layer_list(config, [_entry(step) for step in steps])


def largest_array(steps: tuple[HlsStep, ...], streamed: bool = False) -> int:
    """Return the elements of the largest array in registers: the products of a layer, or a result."""
    return max(prod(step.shape[streamed:]) * _terms(step) for step in steps)


def _terms(step: HlsStep) -> int:
    """Return the products that are added up at once for each number of a result."""
    if "weight" in step.constants:
        return int(step.constants["weight"].integers.shape[-2])
    calls = step.attributes.get("calls")
    return int(calls[0].sizes.get("inputs", 1)) if calls else 1


def _entry(step: HlsStep) -> dict[str, Any]:
    entry: dict[str, Any] = {"class_name": step.class_name, "name": step.name, **step.attributes}
    if step.inputs:
        entry["inputs"] = list(step.inputs)
    if step.outputs:
        entry["outputs"] = list(step.outputs)
    for name, constant in step.constants.items():
        entry[f"{name}_data"] = constant.integers * 2.0**-constant.fraction
    return entry


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Suppress hls4ml's output; raise ModelError for a warning, which reports a decision that hls4ml made itself."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        yield
    warning = next((line for line in printed.getvalue().splitlines() if "WARNING" in line), None)
    if warning is not None:
        raise ModelError(f"'{name}': hls4ml chose by itself: {warning}")


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn the exceptions of hls4ml into ModelError."""
    try:
        yield
    except Exception as error:
        raise ModelError(f"'{name}': hls4ml does not convert it: {' '.join(str(error).split())}") from error


def check_types(model: Any, steps: tuple[HlsStep, ...]) -> None:
    """Raise ModelError where hls4ml's graph has another layer, shape or type than the steps."""
    layers = {layer.name: layer for layer in model.get_layers()}
    if list(layers) != [step.name for step in steps]:
        raise ModelError(f"hls4ml changed the layers to {list(layers)}; expected {[step.name for step in steps]}")
    spell = ac_type if model.config.backend.name == "Catapult" else ap_type
    for step in steps:
        layer = layers[step.name]
        variables = list(layer.get_variables())
        for variable in variables:
            if tuple(variable.shape) != step.shape:
                raise _changed(step, "the shape", str(step.shape), str(tuple(variable.shape)))
        if len(variables) != len(step.outputs or (step.name,)) or list(layer.inputs) != list(step.inputs or ["input"]):
            raise _changed(step, "the streams", str((step.inputs, step.outputs)), str((layer.inputs, layer.outputs)))
        for name, fixed in step.formats.items():
            types = [layer.types[f"{name}_t"]] if f"{name}_t" in layer.types or not step.outputs else []
            types += [layer.weights[name].type] if name in step.constants else []
            types += [variable.type for variable in variables] if name == "result" else []
            for written in (type_.precision.definition_cpp() for type_ in types):
                if written != spell(fixed):
                    raise _changed(step, f"the type '{name}'", spell(fixed), written)
        for name, constant in step.constants.items():
            numbers = [Fraction(number) * Fraction(2) ** constant.fraction for number in layer.weights[name]]
            if numbers != constant.integers.reshape(-1).tolist():
                raise _changed(step, f"the constant '{name}'", "the Graph's integers", "others")


def _changed(step: HlsStep, what: str, expected: str, received: str) -> ModelError:
    return ModelError(f"layer '{step.node.layer}': hls4ml made {what} of '{step.name}' {received}, not {expected}")


def layer_ends(graph: Graph, steps: tuple[HlsStep, ...]) -> tuple[HlsStep, ...]:
    """Return the step of the last node of each layer, in the order of computation, without the input."""
    first = {step.node.name: step for step in reversed(steps)}  # not a later copy of the edge
    ends = {node.name for _, node in graph.layers()}
    return tuple(step for step in steps[1:] if first[step.node.name] is step and step.node.name in ends)


def _set_depths(model: Any, stream_times: Times) -> None:
    """Set the depth of each FIFO in beats, where hls4ml would make it as deep as a frame; ports have no FIFO."""
    ports = {*model.inputs, *model.outputs}
    for name, variable in model.output_vars.items():
        if name not in ports:
            variable.pragma = ("stream", stream_times.depths[name])


def _mark_probes(model: Any, ends: tuple[HlsStep, ...], streamed: bool) -> None:
    """Add a probe of the result of each layer, for C simulations that are compiled with EDGEPHYS_PROBE."""
    from edgephys.targets.hls.layers import HEADER

    for step in ends:
        layer = model.graph[step.name]
        variable = layer.get_output_variable()
        size = variable.shape[0] if streamed else prod(variable.shape)  # a stream's beats, an array's elements
        probe = f"nnet::edge_probe<{variable.type.name}, {size}>({variable.name});"
        layer.set_attr("function_cpp", [layer.get_attr("function_cpp"), "#ifdef EDGEPHYS_PROBE", probe, "#endif"])
        headers = layer.get_attr("include_header", [])
        layer.set_attr("include_header", [*headers, f"nnet_utils/{HEADER.name}"])  # of the probe


def _write(model: Any, folder: Path) -> None:
    """Write the project without time stamps and paths of this machine, which would differ between emissions."""
    config = model.config.config
    config["Stamp"] = "00000000"
    writer = copy.copy(model.config.backend.writer)
    writer.write_yml = lambda model: None  # hls4ml's own holds addresses and imports keras
    with _quiet("writer"):
        writer.write_hls(model)
    settings = {**config, "OutputDir": "."}
    (folder / "hls4ml_config.yml").write_text(json.dumps(settings, indent=1) + "\n")  # JSON is YAML
    for path in folder.glob("*.cpp"):
        path.write_text(path.read_text().replace(str(folder), "."))


def _copy_header(folder: Path) -> None:
    from edgephys.targets.hls.layers import STREAM_HEADER

    (folder / "firmware" / "nnet_utils" / STREAM_HEADER.name).write_bytes(STREAM_HEADER.read_bytes())


def _stream_facts(graph: Graph, model: Any, stream_times: Times) -> dict[str, Any]:
    variables = model.output_vars
    return {
        "io": STREAM,
        "io_type": "io_stream",
        "field": [prod(graph.input.shape[:-2]), graph.input.shape[-2]],
        "lag": stream_times.lag,
        "processes": stream_times.processes,
        "latency_first_cycles_estimate": stream_times.first,
        "latency_cycles_estimate": stream_times.latency,
        "ii_estimate": stream_times.ii,
        "memory_bits": stream_times.memory_bits,
        "fifos": {
            variables[name].name: depth for name, depth in stream_times.depths.items() if name not in model.inputs
        },
    }


def _facts(graph: Graph, model: Any, steps: tuple[HlsStep, ...], top: str, options: HlsOptions) -> dict[str, Any]:
    ends = layer_ends(graph, steps)
    ports = [model.graph[step.name].get_output_variable().name for step in (steps[0], steps[-1])]
    variables = {step.node.name: model.graph[step.name].get_output_variable().name for step in (steps[0], *ends)}
    return {
        "backend": options.backend,
        "part": options.part,
        "clock_ns": options.clock_ns,
        "io_type": "io_parallel",
        "strategy": "latency",
        "top": top,
        "hls4ml": importlib.metadata.version("hls4ml"),
        "input": {"node": graph.input.name, "name": ports[0], "shape": list(graph.input.shape)},
        "output": {"node": graph.output.name, "name": ports[1], "shape": list(graph.output.shape)},
        "layers": {
            name: {"node": node.name, "variable": variables[node.name]}
            for name, node in graph.layers()
            if node.name in variables  # not in a stream that nobody reads
        },
        "probes": [{"node": step.node.name, "shape": list(step.node.shape)} for step in ends],
        "weights": {
            step.node.name: {name: model.graph[step.name].weights[name].name for name in step.constants}
            for step in steps
            if step.constants
        },
    }


def write_testbench(graph: Graph, folder: Path, x: Integers) -> None:
    """Write vectors and the golden outputs, as decimal values, for the project's own test bench.

    Shape: x (vector, *input shape).  Exact: the vendor's testbench reads inputs as float, exact to 24 bits.
    """
    expected = evaluate.run(graph, x)
    for name, fixed, integers in (
        ("tb_input_features", graph.input.fixed, x),
        ("tb_output_predictions", graph.output.fixed, expected),
    ):
        rows = fixed.values(integers).reshape(len(x), -1).tolist()
        text = "".join(" ".join(repr(value) for value in row) + "\n" for row in rows)
        (folder / "tb_data" / f"{name}.dat").write_text(text)
