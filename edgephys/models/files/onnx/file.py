"""Read an ONNX file into plain records, or refuse it in one line before any work.

Nothing of the file is trusted: it is parsed without its outside data, which is then read only from within its folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import external_data_helper, helper, numpy_helper

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.names import real_path
from edgephys.core.reading import fault, open_regular, read_bytes

STANDARD = ("", "ai.onnx")
QONNX = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
"""Domains of QONNX's operators, by their names over the years."""
OPSETS = range(6, 25)
QONNX_VERSIONS = (1, 2)
CHANNELS_LAST = "qonnx.custom_op.channels_last"
"""Domain of the wrappers of QONNX around Conv, MaxPool and BatchNormalization whose fields have channels last."""
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
INTEGERS = {
    onnx.TensorProto.UINT8: Fixed(False, 8, 8),
    onnx.TensorProto.INT8: Fixed(True, 8, 8),
    onnx.TensorProto.UINT16: Fixed(False, 16, 16),
    onnx.TensorProto.INT16: Fixed(True, 16, 16),
}
"""Formats of inputs that are integers, such as pixels."""
LARGEST_BYTES = 1 << 30
LARGEST_INPUT = 1 << 24
"""Elements of a vector: beyond this a file is damaged rather than a network for a trigger."""


@dataclass(frozen=True, eq=False)
class Operation:
    """State one node of the file: its name (or what stands for one), operator, tensors and attributes."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def refused(self, what: str) -> ModelError:
        """Return the error that names the node, its operator, what is wrong and what would work."""
        return ModelError(f"node '{self.name}' ({self.kind}): {what}")

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Read the node within: where an attribute or input is not there, or not of its kind, the node is refused."""
        try:
            yield
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise self.refused(f"an attribute or input of it is missing or malformed ({fault(error)})") from error


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """Hold a file's operations in order, its constants, its inputs with their shapes (no batch), and its outputs.

    ``integers`` are the formats of inputs that are integers; ``proto`` is the whole model, its outside data in it.
    """

    path: Path
    proto: Any
    sha256: str
    producer: str
    opset: int
    inputs: Mapping[str, tuple[int, ...]]
    integers: Mapping[str, Fixed]
    outputs: tuple[str, ...]
    constants: Mapping[str, NDArray[Any]]
    operations: tuple[Operation, ...]


def read(path: Path) -> OnnxModel:
    """Return the model in an ONNX file.

    Raises: ModelError for a file that is missing, truncated or none of ONNX, an unknown version, outside data beyond
    its folder, more than one input or output, an axis without a length, or a weight that is no finite number.
    """
    content, proto = _parsed(path)
    graph = proto.graph
    _require_printable(path, proto)
    _fetch_outside_data(path, proto)
    opset = _version(path, proto)
    constants = {tensor.name: _array(path, tensor) for tensor in graph.initializer}
    operations = tuple(_operations(path, graph, constants))
    inputs = [entry for entry in graph.input if entry.name not in constants]  # old files list their weights as inputs
    if not inputs:
        raise ModelError(f"{path}: expected an input, found none; export it again")
    shapes = {entry.name: _shape(path, entry) for entry in inputs}
    integers = {
        entry.name: INTEGERS[entry.type.tensor_type.elem_type]
        for entry in inputs
        if entry.type.tensor_type.elem_type in INTEGERS
    }
    outputs = tuple(entry.name for entry in graph.output)
    needed = _needed(path, operations, outputs, {*shapes, *constants})
    producer = f"{proto.producer_name} {proto.producer_version}".strip() or "unknown"
    digest = hashlib.sha256(content).hexdigest()
    return OnnxModel(path, proto, digest, producer, opset, shapes, integers, outputs, constants, needed)


def _parsed(path: Path) -> tuple[bytes, Any]:
    try:
        content = read_bytes(path, LARGEST_BYTES)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: expected an ONNX file, but it cannot be read ({fault(error)}); check the path"
        ) from error
    try:
        proto = onnx.load_from_string(content)
    except Exception as error:  # protobuf's own, of which there are several
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: not an ONNX file, or a truncated one ({reason}); export it again") from error
    if not proto.ir_version or not proto.graph.node or not proto.graph.output:
        raise ModelError(f"{path}: not an ONNX file, or a truncated one (it has no operators); export it again")
    return content, proto


def _require_printable(path: Path, proto: Any) -> None:
    """Refuse names that would break a message, or a terminal."""
    graph = proto.graph
    names = [entry.name for entry in (*graph.initializer, *graph.input, *graph.output)]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [entry.s.decode(errors="replace") for entry in node.attribute]
    for entry in graph.input:
        names += [length.dim_param for length in entry.type.tensor_type.shape.dim]
    for name in (*names, proto.producer_name, proto.producer_version):
        if isinstance(name, bytes) or not name.isprintable():  # bytes where they are no UTF-8
            raise ModelError(f"{path}: the name {name[:60]!r} is no plain text; the file is damaged, export it again")


def _tensors(proto: Any) -> Iterator[Any]:
    yield from proto.graph.initializer
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t


def _fetch_outside_data(path: Path, proto: Any) -> None:
    """Read what tensors keep in files beside the model; a path that leaves its folder is refused."""
    home = real_path(path.parent)
    for tensor in _tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        location = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        relative = Path(location)
        inside = home / relative
        leaves = relative.is_absolute() or ".." in relative.parts or not real_path(inside).is_relative_to(home)
        if not location or leaves or inside.is_symlink():
            raise ModelError(
                f"{path}: initialiser '{tensor.name}': its data must lie in the model's folder, not at {location!r}; "
                f"export it into one file"
            )
        try:
            open_regular(inside).close()
            external_data_helper.load_external_data_for_tensor(tensor, str(home))
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
            numpy_helper.to_array(tensor)
        except Exception as error:  # onnx raises many kinds; all mean that the numbers are not there
            reason = " ".join(str(error).split())[:120]
            raise ModelError(
                f"{path}: initialiser '{tensor.name}': its data {location!r} is missing or too short ({reason}); "
                f"export it again"
            ) from error


def _version(path: Path, proto: Any) -> int:
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    opset = next((versions[domain] for domain in STANDARD if domain in versions), None)
    if opset is None or opset not in OPSETS:
        raise ModelError(
            f"{path}: the operators' version must be {OPSETS[0]}..{OPSETS[-1]}, not {opset}; export it with opset 13"
        )
    for domain in QONNX:
        if versions.get(domain, 1) not in QONNX_VERSIONS:
            raise ModelError(
                f"{path}: the version of {domain} must be {' or '.join(map(str, QONNX_VERSIONS))}, "
                f"not {versions[domain]}; export it with another release of its tool"
            )
    return int(opset)


def _array(path: Path, tensor: Any) -> NDArray[Any]:
    try:
        array = numpy_helper.to_array(tensor)
    except Exception as error:  # as many kinds as numpy and onnx have for numbers that are not there
        raise ModelError(
            f"{path}: initialiser '{tensor.name}': its numbers do not fit its shape ({fault(error)}); export it again"
        ) from error
    if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        raise ModelError(f"{path}: initialiser '{tensor.name}' holds NaN or infinity; train the model again")
    return np.asarray(array)


def _operations(path: Path, graph: Any, constants: dict[str, NDArray[Any]]) -> Iterator[Operation]:
    """Yield the operations; Constant nodes become constants."""
    for number, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{number}"
        kind = node.op_type if node.domain in (*STANDARD, *QONNX) else f"{node.domain}.{node.op_type}"
        if node.domain in STANDARD and node.op_type in ("Quant", "BipolarQuant"):
            kind = f"ONNX's own {node.op_type}"
        if kind == "Constant":
            constants[node.output[0]] = _constant(path, name, node)
            continue
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        operation = Operation(name, kind, tuple(node.input), tuple(node.output), attributes)
        if node.domain == CHANNELS_LAST and node.op_type in ("Conv", "MaxPool", "BatchNormalization"):
            yield from _channels_first(operation, node.op_type)
        else:
            yield operation


def _channels_first(operation: Operation, kind: str) -> Iterator[Operation]:
    """Yield an operation on fields with channels last as the standard one between two Transposes.

    Their ``perm`` of None moves the last axis to place 1, or back, whatever the rank.
    """
    inputs = list(operation.inputs)
    for at in range(2 if kind == "Conv" else 1):
        first = f"{inputs[at]} for {operation.name}"
        yield Operation(f"{operation.name}_first_{at}", "ChannelsFirst", (inputs[at],), (first,), {})
        inputs[at] = first
    result = f"{operation.outputs[0]} of {operation.name}"
    yield Operation(operation.name, kind, tuple(inputs), (result,), operation.attributes)
    yield Operation(f"{operation.name}_last", "ChannelsLast", (result,), operation.outputs, {})


def evaluated(operation: Operation, inputs: list[NDArray[Any]], opset: int) -> list[NDArray[Any]]:
    """Return what the onnx package's reference implementation computes; raise whatever it raises."""
    from onnx.reference import ReferenceEvaluator

    names = [f"x{at}" for at in range(len(inputs))]
    node = helper.make_node(operation.kind, names, list(operation.outputs), **operation.attributes)
    entries = [helper.make_empty_tensor_value_info(name) for name in names]
    ends = [helper.make_empty_tensor_value_info(name) for name in operation.outputs]
    model = helper.make_model(
        helper.make_graph([node], "one", entries, ends), opset_imports=[helper.make_opsetid("", opset)]
    )
    return [np.asarray(y) for y in ReferenceEvaluator(model).run(None, dict(zip(names, inputs, strict=True)))]


def _constant(path: Path, name: str, node: Any) -> NDArray[Any]:
    for entry in node.attribute:
        if entry.name == "value":
            return _array(path, entry.t)
        if entry.name in ("value_float", "value_floats", "value_int", "value_ints"):
            dtype = np.float32 if "float" in entry.name else np.int64
            return np.asarray(helper.get_attribute_value(entry), dtype)
    raise ModelError(f"node '{name}' (Constant): expected a tensor or numbers; export it again")


def _shape(path: Path, entry: Any) -> tuple[int, ...]:
    kind = entry.type.tensor_type
    if kind.elem_type not in (*FLOATS, *INTEGERS) or not kind.HasField("shape") or not kind.shape.dim:
        raise ModelError(
            f"{path}: input '{entry.name}' must be float32, or integers of 8 or 16 bits, of a stated shape, a batch "
            f"first; export it so"
        )
    for axis, length in enumerate(kind.shape.dim[1:], start=1):
        if length.dim_value < 1:
            raise ModelError(
                f"{path}: input '{entry.name}': only the batch may be of any length, not axis {axis} "
                f"('{length.dim_param or '?'}'); export it with a stated shape"
            )
    shape = tuple(length.dim_value for length in kind.shape.dim[1:])
    if prod(shape) > LARGEST_INPUT:
        raise ModelError(f"{path}: input '{entry.name}' must have at most {LARGEST_INPUT} elements, not {shape}")
    return shape


def _needed(
    path: Path, operations: tuple[Operation, ...], outputs: tuple[str, ...], sources: set[str]
) -> tuple[Operation, ...]:
    """Return the operations that the outputs need; raise ModelError where one reads what nothing gave."""
    known = set(sources)
    for operation in operations:
        for name in operation.inputs:
            if name and name not in known:
                raise operation.refused(f"reads '{name}', which nothing before it gives; export the model again")
        known.update(operation.outputs)
    for output in outputs:
        if output not in known:
            raise ModelError(f"{path}: its output '{output}' is given by no operator; export the model again")
    tensors: set[str] = set(outputs)
    needed = []
    for operation in reversed(operations):
        if tensors & set(operation.outputs):
            tensors.update(operation.inputs)
            needed.append(operation)
    return tuple(reversed(needed))
