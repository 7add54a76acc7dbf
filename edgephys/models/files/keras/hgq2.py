"""Read models of HGQ2, which cannot be installed beside QKeras, from their configuration and weights.

Every layer becomes a model of Keras layers: roundings with a format for every element (``FixedRounding``) around a
layer whose weights are the quantised ones. Source: the public sources of HGQ2 0.2 and of ``quantizers`` 1.2.
"""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core import hdf5
from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.networks.backend import keras
from edgephys.networks.layers import FixedRounding

PACKAGE = "hgq"
ROUNDINGS, OVERFLOWS = ("TRN", "RND", "RND_CONV"), ("WRAP", "SAT", "SAT_SYM")
WIDEST_INTEGER = 100
"""Integer bits of weights that are rounded and never overflow: over those of any weight."""
_L = keras.layers
PRODUCTS = {"QDense": _L.Dense, "QBatchNormDense": _L.Dense, "QConv1D": _L.Conv1D, "QConv2D": _L.Conv2D}
MERGES = {"QAdd": _L.Add, "QSubtract": _L.Subtract, "QMaximum": _L.Maximum, "QMinimum": _L.Minimum}
OTHERS = {
    f"Q{name}": getattr(_L, name)
    for name in (f"{way}Pooling{rank}D" for way in ("Max", "Average", "GlobalMax", "GlobalAverage") for rank in (1, 2))
}
KNOWN = ("Quantizer", *PRODUCTS, *MERGES, *OTHERS, "QUnaryFunctionLUT", "QBatchNormalization")
"""Layers that are read."""
Arrays = Mapping[str, Sequence[NDArray[Any]]]


def is_named(config: Any) -> bool:
    """Tell whether a configuration names a class of HGQ2."""
    return any(str(entry.get("module")).split(".")[0] == PACKAGE for entry in _entries(config))


def model(config: Any, weights: bytes, known: Mapping[str, Any]) -> Any:
    """Return the Keras model of a configuration and the content of its file of weights.

    Raises: ModelError naming a layer that is not read; what Keras raises.
    """
    translation = _Translation(*hdf5.variables(io.BytesIO(weights)))
    plain = translation.model(config)
    loaded = keras.saving.deserialize_keras_object(plain, custom_objects=dict(known), safe_mode=True)
    for layer in _layers(loaded):
        if layer.name in translation.weights:
            layer.set_weights(translation.weights[layer.name])
    return loaded


def _entries(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        yield config
        for value in config.values():
            yield from _entries(value)
    elif isinstance(config, list):
        for value in config:
            yield from _entries(value)


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


@dataclass(frozen=True, eq=False)
class _Quantiser:
    """Hold the formats of a quantiser: (signed, bits, integer), the latter two with the sign; shape of its weights."""

    formats: tuple[Integers, Integers, Integers]
    rounding: str
    overflow: str

    def layer(self, name: str) -> Any:
        """Return the layer that rounds so, without its weights."""
        return FixedRounding(self.formats[0].shape, self.rounding, self.overflow, name=name)

    def of(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return values rounded."""
        layer = self.layer("rounding")
        layer.set_weights(list(self.formats))
        return np.asarray(layer(np.asarray(values, np.float32)), np.float32)


@dataclass(eq=False)
class _Translation:
    """Write each layer of HGQ2 as a model; ``weights`` collects those of the layers in it, by their names.

    ``paths`` are where the layers' variables are in the file, ``arrays`` the variables at every path.
    """

    paths: Mapping[str, str]
    arrays: Arrays
    weights: dict[str, Any] = field(default_factory=dict)

    def model(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Return the record of a model without layers of HGQ2."""
        own = entry["config"]
        layers = [self.layer(layer) for layer in own["layers"]]
        rest = {key: value for key, value in entry.items() if key not in ("compile_config", "build_config")}
        return {**rest, "config": {**own, "layers": layers}}

    def layer(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Return the record of a layer without HGQ2."""
        own, kind = entry["config"], entry["class_name"]
        if isinstance(own, dict) and "layers" in own:
            return self.model(entry)
        if str(entry.get("module")).split(".")[0] != PACKAGE:
            if self.arrays.get(self.paths.get(own.get("name"), "")):
                self.weights[own["name"]] = self.arrays[self.paths[own["name"]]]
            return entry
        inner = self.replacement(kind, own, _shapes(entry))
        record = keras.saving.serialize_keras_object(inner)
        nodes = {key: entry[key] for key in ("name", "inbound_nodes") if key in entry}
        return {**record, **nodes}

    def replacement(self, kind: str, own: dict[str, Any], shapes: list[tuple[int, ...]]) -> Any:
        """Return a model of Keras layers in the place of a layer."""
        name = own["name"]
        inputs = [keras.Input(shape) for shape in shapes]
        if kind == "Quantizer":
            return keras.Model(inputs, self.rounded(name, "", own["config"], inputs[0], f"{name}_rounding"), name=name)
        values = self.rounded_inputs(name, own, inputs)
        if kind in PRODUCTS:
            result = self.product(kind, own)(values[0])
        elif kind in MERGES:
            result = MERGES[kind](name=name)(values)
        elif kind in OTHERS:
            result = OTHERS[kind](**_settings(OTHERS[kind], own))(values[0])
        elif kind == "QUnaryFunctionLUT":
            result = _L.Activation(own["activation"], name=name)(values[0])
        elif kind == "QBatchNormalization":
            result = self.normalisation(own)(values[0])
        else:
            raise ModelError(f"layer '{name}': HGQ2's {kind} cannot be read; use {', '.join(KNOWN)}")
        if own.get("enable_oq"):
            result = self.rounded(name, "/oq", own["oq_conf"], result)
        return keras.Model(inputs if len(inputs) > 1 else inputs[0], result, name=name)

    def rounded_inputs(self, name: str, own: dict[str, Any], inputs: list[Any]) -> list[Any]:
        """Return the inputs of a layer after its quantisers of inputs."""
        if not own.get("enable_iq"):
            return inputs
        if "iq_confs" not in own:
            return [self.rounded(name, "/iq", own["iq_conf"], inputs[0])]
        confs = own["iq_confs"] if isinstance(own["iq_confs"], list) else [own["iq_confs"]] * len(inputs)
        places = [f"/iq/quantizers/quantizer{f'_{at}' if at else ''}" for at in range(len(inputs))]
        parts = zip(places, confs, inputs, strict=True)
        return [self.rounded(name, place, conf, x, f"{name}_iq{at}") for at, (place, conf, x) in enumerate(parts)]

    def rounded(self, layer: str, place: str, conf: Any, x: Any, name: str | None = None) -> Any:
        """Return a tensor after a quantiser of a layer; ``place`` is where the layer has it."""
        name = name or f"{layer}{place.replace('/', '_')}"
        quantiser = self.quantiser(layer, place, conf)
        if quantiser is None:
            return x
        self.weights[name] = list(quantiser.formats)
        return quantiser.layer(name)(x)

    def quantiser(self, name: str, place: str, conf: Any, of_weights: bool = False) -> _Quantiser | None:
        """Return the formats of a quantiser; None for one that does nothing."""
        stated = conf["config"]
        kind, where = stated["q_type"], f"layer '{name}'"
        if kind == "dummy":
            return None
        if kind not in ("kif", "kbi"):
            raise ModelError(f"{where}: HGQ2's quantiser {kind} cannot be computed exactly; use kif or kbi")
        if stated.get("scaler") is not None or stated.get("affine") is not None:
            raise ModelError(f"{where}: an HGQ2 quantiser with scaler or affine cannot be read; leave them out")
        rounding, overflow = stated["round_mode"].removeprefix("S_"), stated["overflow_mode"]
        if rounding not in ROUNDINGS or overflow not in OVERFLOWS:
            known = f"{', '.join(ROUNDINGS)} and {', '.join(OVERFLOWS)}"
            raise ModelError(f"{where}: modes must be of {known}, not {rounding} and {overflow}")
        own = self.arrays.get(f"{self.paths.get(name)}{place}/quantizer")
        if not own:
            raise ModelError(f"{where}: the file has no weights of its quantiser '{place}'; save the model once more")
        sign = next(array.astype(np.int64) for array in own if array.dtype == np.uint8)
        numbers = [
            np.rint(array).astype(np.int64) for array in own if array.dtype != np.uint8 and array.shape == sign.shape
        ]
        # trained variables come first, and in WRAP the integer bits are not trained
        first, second = numbers[:2] if (overflow == "WRAP") == (kind == "kif") or kind == "kbi" else numbers[1::-1]
        fraction, integer = (first, second) if kind == "kif" else (first - second, second)
        if of_weights and overflow == "WRAP" and stated.get("trainable", True) and (kind == "kif" or rounding == "RND"):
            integer, overflow = np.full_like(integer, WIDEST_INTEGER), "SAT"  # such weights are rounded alone
            fraction = np.clip(fraction, -WIDEST_INTEGER, 126 - WIDEST_INTEGER)
        bits = sign + np.maximum(integer, -fraction) + fraction
        return _Quantiser((sign, bits, bits - fraction), rounding, overflow)

    def constant(self, name: str, which: str, conf: Any, values: NDArray[Any]) -> NDArray[Any]:
        """Return weights after their quantiser."""
        quantiser = self.quantiser(name, f"/{which}", conf, True)
        return values if quantiser is None else quantiser.of(values)

    def product(self, kind: str, own: dict[str, Any]) -> Any:
        """Return a layer that multiplies by quantised weights."""
        name, settings = own["name"], _settings(PRODUCTS[kind], own)
        kernel, *rest = (np.asarray(array, np.float32) for array in self.arrays[self.paths[name]])
        bias = rest.pop(0) if own["use_bias"] else None
        if kind == "QBatchNormDense":
            gamma = rest.pop(0) if own["scale"] else np.float32(1)
            mean, variance = [array for array in rest if array.shape == kernel.shape[:1]][:2]
            factor = keras.ops.convert_to_numpy(gamma / keras.ops.sqrt(variance + np.float32(own["epsilon"])))
            bias = bias - keras.ops.convert_to_numpy(keras.ops.dot(mean, kernel))
            kernel = factor[:, None] * kernel
        weights = [self.constant(name, "kq", own["kq_conf"], kernel)]
        if bias is not None:
            weights.append(self.constant(name, "bq", own["bq_conf"], bias))
        self.weights[name] = weights
        return PRODUCTS[kind](**settings)

    def normalisation(self, own: dict[str, Any]) -> Any:
        """Return x * scale + offset with quantised numbers for each channel."""
        name = own["name"]
        arrays = [np.asarray(array, np.float32) for array in self.arrays[self.paths[name]] if array.ndim]
        gamma = arrays.pop(0) if own["scale"] else np.float32(1)
        beta = arrays.pop(0) if own["center"] else np.float32(1)
        mean, variance = arrays[:2]
        scale = keras.ops.convert_to_numpy(gamma / keras.ops.sqrt(variance + np.float32(own["epsilon"])))
        offset = beta - mean * scale
        numbers = (self.constant(name, "kq", own["kq_conf"], scale), self.constant(name, "bq", own["bq_conf"], offset))
        return _L.Rescaling(*(array.tolist() for array in numbers), name=name)


def _settings(kind: Callable[..., Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a layer that the Keras layer has, too, but those of its training."""
    training = ("initializer", "regularizer", "constraint", "lora_rank", "lora_alpha", "quantization_config")
    names = {*inspect.signature(kind).parameters, "name"} - {"kwargs", "dtype"}
    return {key: own[key] for key in names if key in own and not key.endswith(training)}


def _shapes(entry: dict[str, Any]) -> list[tuple[int, ...]]:
    """Return the shapes of a layer's inputs, without the batch."""
    shape = (entry.get("build_config") or {}).get("input_shape") or (entry.get("build_config") or {}).get("shapes_dict")
    if not isinstance(shape, list) or not shape:
        raise ModelError(
            f"layer '{entry['config']['name']}': its file states no shape of its input; save the built model"
        )
    shapes = shape if isinstance(shape[0], list) else [shape]
    return [tuple(one[1:]) for one in shapes]
