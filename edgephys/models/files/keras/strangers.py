"""Refuse a configuration that would run code, or that names classes of packages that are not read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgephys.core.errors import ModelError
from edgephys.networks.backend import keras

PACKAGES = ("keras", "qkeras", "edgephys", "hgq", "builtins")
"""Packages whose classes a file may name; HGQ2's are read by ``hgq2``."""
TRAINING = ("compile_config", "build_config")
"""Parts of a configuration that are not loaded."""


def check(path: Path, config: Any, known: dict[str, Any]) -> None:
    """Raise ModelError naming the layer that would run code, or whose class is not read; ``known`` are ours by name."""
    for layer, entry in _entries(config, str(path)):
        kind, module = entry["class_name"], entry.get("module")
        if kind in ("Lambda", "__lambda__"):
            raise ModelError(
                f"{layer}: refused: it holds a Lambda or pickled code, which would run on loading; use layers instead"
            )
        if module is not None and str(module).split(".")[0] not in PACKAGES:
            raise ModelError(f"{layer}: {kind} is a class of '{module}', not of Keras or QKeras; use a layer of theirs")
        package, registered = _registered(entry)
        if registered and package not in PACKAGES:
            name = entry["registered_name"]
            raise ModelError(
                f"{layer}: {kind} is a class registered as '{name}', not Keras' or QKeras'; use one of theirs"
            )
        if module is None and layer.startswith("layer") and not (kind.startswith("__") or _is_known(kind, known)):
            raise ModelError(f"{layer}: {kind} is no layer of Keras, QKeras or HGQ2; use a layer of theirs")


def _registered(entry: dict[str, Any]) -> tuple[str, bool]:
    """Return the package under which a class was registered for loading, and whether it was."""
    name = entry.get("registered_name")
    package, sign, _ = name.partition(">") if isinstance(name, str) else ("", "", "")
    return package, bool(sign)


def reason_of(error: Exception) -> str:
    """Return in one short line why Keras cannot make a model: the layer and the cause, without configurations."""
    text = " ".join(str(error).split())
    cause = re.sub(r"(Full object )?config ?[:=] ?{.*", "", text.rsplit("Exception encountered:", 1)[-1])
    cause = cause.split(" Make sure custom classes")[0].strip(" .")
    layers = re.findall(r"Error when deserializing class '(\w+)' using config={'name': '([^']*)'", text)
    if not layers:
        return f"refused: {cause}"
    kind, name = layers[-1]
    return f"layer '{name}': refused: Keras cannot make its {kind}: {cause}"


def _is_known(kind: str, known: dict[str, Any]) -> bool:
    name = kind.split(">")[-1]
    return name in known or any(hasattr(part, name) for part in (keras, keras.layers, keras.initializers, *_PARTS))


_PARTS = (keras.regularizers, keras.constraints, keras.activations, keras.dtype_policies)


def _entries(config: Any, layer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every record of a class with the layer that it is in."""
    if isinstance(config, dict):
        own = config.get("config")
        if isinstance(config.get("class_name"), str) and "config" in config:
            if isinstance(own, dict) and "name" in own and "layers" not in own:
                layer = f"layer '{own['name']}'"
            yield layer, config
        for key, value in config.items():
            if key not in TRAINING:
                yield from _entries(value, layer)
    elif isinstance(config, list):
        for value in config:
            yield from _entries(value, layer)
