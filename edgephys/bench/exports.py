"""A trained model for other runtimes, as Keras exports it: ONNX and TFLite.

Each export is made in a process of its own and cached by content, so that nothing is timed beside a TensorFlow that
exported a model.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephys.core import builds
from edgephys.core import workers as pool
from edgephys.core.errors import EdgephysError, ToolError
from edgephys.core.reading import read_json

FORMS = {"keras_onnx": "model.onnx", "tflite": "model.tflite"}
"""The forms of an export and their files."""
FACTS = "facts.json"
REVISION = 2
TF2ONNX = "tf2onnx"
"""Package that Keras' ONNX export needs on TensorFlow; Keras imports it."""


@dataclass(frozen=True)
class Export:
    """Hold the path of an export and the facts of its making, or why there is none."""

    path: Path | None
    facts: dict[str, Any]
    why: str | None = None


def exports(model: Path, forms: Sequence[str] = tuple(FORMS)) -> dict[str, Export]:
    """Return each form of the model in a .keras file, exported where the cache has none."""
    tasks = [(form, model) for form in forms]
    return dict(zip(forms, pool.in_order(_export, tasks, 1, "Keras' exports", "2 GB"), strict=True))


def _export(task: tuple[str, Path]) -> Export:
    form, model = task
    try:
        versions = _versions(form)
        key = builds.content_key(
            [model], f"{form} {REVISION}", *(f"{name} {version}" for name, version in versions.items())
        )
        folder = builds.built(key, lambda scratch: _write(form, model, scratch / FORMS[form]))
    except EdgephysError as error:
        return Export(None, {}, str(error))
    except Exception as error:  # Keras, TensorFlow and tf2onnx raise many kinds; each means that there is no export
        return Export(None, {}, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return Export(folder / FORMS[form], {"made_with": versions} | read_json(folder / FACTS))


def _versions(form: str) -> dict[str, str]:
    names = ("keras", "tensorflow", TF2ONNX) if form == "keras_onnx" else ("keras", "tensorflow")
    if TF2ONNX in names and importlib.util.find_spec(TF2ONNX) is None:
        raise ToolError(f"Keras' own ONNX export needs {TF2ONNX}, which is missing: pip install {TF2ONNX}")
    return {name: importlib.metadata.version(name) for name in names}


def _write(form: str, path: Path, out: Path) -> None:
    os.dup2(1, 2)  # a worker discards its standard output; discard what TensorFlow writes to stderr, too
    from edgephys.models.trained import load_keras
    from edgephys.networks.backend import tf

    model = load_keras(path)
    model(tf.zeros((1, *model.input_shape[1:])))  # Keras exports only a model that was called
    facts = {}
    if form == "keras_onnx":
        import onnx

        model.export(str(out), format="onnx", verbose=False)
        facts["nodes"] = len(onnx.load(out).graph.node)
    else:
        out.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    (out.parent / FACTS).write_text(json.dumps(facts | {"bytes": out.stat().st_size}))
