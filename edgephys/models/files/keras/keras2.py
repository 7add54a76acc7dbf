"""Read files of Keras 2: their configurations, and layers in them whose packages do not run any more.

BinaryDense and TernaryDense (the layers of BinaryNet) become Dense with the weights that they multiply by, and HGQ's
FixedPointQuantizer our FixedRounding. Source: the definitions in BinaryNet's and HGQ 0.2's public sources.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core import hdf5
from edgephys.core.errors import ModelError
from edgephys.core.scratch import temporary_folder
from edgephys.networks.backend import keras
from edgephys.networks.layers import SIGNS, binary_tanh, ternary_tanh

CONFIGURATION = "model_config"
"""The attribute of an HDF5 file that holds the configuration."""
GROUP, NAMES = "model_weights", "layer_names"
OF_TRAINING = ("H", "kernel_lr_multiplier", "bias_lr_multiplier", "kernel_constraint", "bias_constraint")
"""Settings of BinaryNet's layers that a Keras layer does not have, or needs only in training."""

NAMES_OF_LAYERS = (
    "FixedPointQuantizer",
    *(f"{word}{kind}" for word in ("Binary", "Ternary") for kind in ("Dense", "Conv2D")),
)
"""Layers of other packages that are read."""

Weights = NDArray[np.float32]
Change = Callable[[Weights], Weights]


def configuration(path: Path) -> Any:
    """Return the configuration in an HDF5 file; raise ValueError where there is none."""
    text = hdf5.attributes(path).get(CONFIGURATION)
    if text is None:
        raise ValueError("no configuration of a model; save the whole model, not its weights alone")
    return json.loads(text)


def has_weights(path: Path) -> bool:
    """Tell whether an HDF5 file holds weights as Keras 2 writes them."""
    return NAMES in hdf5.attributes(path)


def model(config: Any, weights: Path, known: Mapping[str, Any]) -> Any:
    """Return the model of a configuration; ``weights`` is a file of weights, or a whole model's.

    Raises: ModelError naming a layer that cannot be read; what Keras raises.
    """
    changes: dict[str, Change] = {}
    config = _upgraded(config, changes)
    functions = {function.__name__: function for function in SIGNS}
    with temporary_folder("keras2") as folder:
        file = folder / "model.h5"
        group = "" if has_weights(weights) else GROUP
        hdf5.copy_group(weights, group, file, GROUP, {CONFIGURATION: json.dumps(config)})
        loaded = keras.models.load_model(file, custom_objects={**known, **functions}, compile=False, safe_mode=True)
    for name, change in changes.items():
        layer = loaded.get_layer(name)
        kernel, *rest = layer.get_weights()
        layer.set_weights([change(kernel), *rest])
    return loaded


def _upgraded(config: Any, changes: dict[str, Change]) -> Any:
    """Return a configuration whose layers Keras 3 knows; ``changes`` collects what becomes of their kernels."""
    own = config["config"]
    if isinstance(own, list):
        own = {"name": "sequential", "layers": own}
    layers = [_layer(entry, changes) for entry in own["layers"]]
    if config["class_name"] == "Sequential" and layers[0]["class_name"] != "InputLayer":
        first = own["layers"][0]["config"]
        shape = first.get("batch_input_shape") or first.get("batch_shape")
        if shape is not None:
            settings = {"name": f"{first.get('name', 'model')}_input", "batch_shape": shape}
            layers = [{"class_name": "InputLayer", "config": {**settings, "dtype": "float32"}}, *layers]
    for entry in layers[1:] if config["class_name"] == "Sequential" else ():
        entry["config"].pop("batch_input_shape", None)
    return {**config, "config": {**own, "layers": layers}}


def _layer(entry: dict[str, Any], changes: dict[str, Change]) -> dict[str, Any]:
    kind, own = str(entry["class_name"]).split(">")[-1], entry["config"]
    if kind in ("Sequential", "Functional", "Model"):
        return {**entry, **_upgraded(entry, changes)}
    own = dict(own)
    if kind == "FixedPointQuantizer":
        settings = {"name": own["name"], "shape": own["shape"], "rounding": own["RND"], "overflow": own["SAT"]}
        return {**entry, "class_name": "FixedRounding", "config": settings}
    if kind == "Activation" and own["activation"] == "relu1":
        return {**entry, "class_name": "ReLU", "config": {"name": own["name"], "max_value": 1.0}}
    for word, function in (("Binary", binary_tanh), ("Ternary", ternary_tanh)):
        if kind.startswith(word) and kind in NAMES_OF_LAYERS:
            changes[own["name"]] = _scaled(own["name"], function, own.get("H", 1.0))
            rest = {key: value for key, value in own.items() if key not in OF_TRAINING}
            return {**entry, "class_name": kind.removeprefix(word), "config": rest}
    return {**entry, "config": own}


def _scaled(name: str, function: Any, scale: Any) -> Change:
    """Return how a layer of BinaryNet makes its kernel."""
    if not isinstance(scale, int | float) or scale <= 0:
        raise ModelError(f"layer '{name}': H must be a number over 0, not {scale!r}; save the trained model again")
    return lambda kernel: np.asarray(function(kernel / np.float32(scale)), np.float32) * np.float32(scale)
