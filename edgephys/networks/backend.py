"""Load Keras on its TensorFlow backend, quietly and once, before anything else can choose for us."""

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what TensorFlow's C++ side says of itself while it loads from the user's terminal."""
    sys.stderr.flush()
    terminal, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)


with _quiet():
    import keras
    import qkeras
    import tensorflow as tf

tf.get_logger().setLevel("ERROR")

OF_KERAS_ALONE = ("synchronized", "renorm", "renorm_clipping", "renorm_momentum")
"""Settings of Keras' batch normalisation that QKeras' fused layers write into a file, and refuse when it is read."""


def _readable(layer: type) -> None:
    """Let a fused layer of QKeras be read from a file that it wrote."""
    read = layer.from_config.__func__  # type: ignore[attr-defined]

    def from_config(cls: type, config: Mapping[str, Any]) -> Any:
        return read(cls, {name: value for name, value in config.items() if name not in OF_KERAS_ALONE})

    layer.from_config = classmethod(from_config)  # type: ignore[attr-defined]


for _layer in (qkeras.QDenseBatchnorm, qkeras.QConv2DBatchnorm, qkeras.QDepthwiseConv2DBatchnorm):
    _readable(_layer)

__all__ = ["keras", "precision", "predict", "qkeras", "tf"]


def predict(model: Any, x: Any, batch: int) -> Any:
    """Return what a Keras model computes, as arrays in the structure of its outputs, ``batch`` examples at a time.

    As ``model.predict``, which compiles the model at its first call: that takes longer than a few batches do.
    Shape: x (example, ...), or a list of one such array an input -> each output (example, ...).
    """
    arrays, parts = keras.tree.flatten(x), []
    structure = getattr(model, "input", None)  # a sequential model has none
    for start in range(0, max(1, len(arrays[0])), batch):
        pieces = [values[start : start + batch] for values in arrays]
        nested = isinstance(structure, list | tuple | dict)
        of = keras.tree.pack_sequence_as(structure, pieces) if nested else pieces[0]
        parts.append(keras.tree.map_structure(np.asarray, model(of, training=False)))
    return keras.tree.map_structure(lambda *values: np.concatenate(values), *parts)


@contextmanager
def precision(double: bool) -> Iterator[None]:
    """Let Keras and QKeras compute in float64 within, where ``double``, and in float32 else."""
    before, policy, ops = keras.config.floatx(), keras.config.dtype_policy(), qkeras.quantizers.Kops
    kind = "float64" if double else "float32"
    keras.config.set_floatx(kind)
    keras.config.set_dtype_policy(kind)  # of layers within layers, which state none
    qkeras.quantizers.Kops = _DoubleOps() if double else keras.ops
    try:
        yield
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(policy)
        qkeras.quantizers.Kops = ops


class _DoubleOps:
    """Stand for Keras' operations in QKeras' quantisers, some of which state float32: it is float64 here."""

    def __getattr__(self, name: str) -> Any:
        return getattr(keras.ops, name)

    def cast(self, x: Any, dtype: Any) -> Any:
        """Return values of another type."""
        return keras.ops.cast(x, _doubled(dtype))

    def array(self, x: Any, dtype: Any = None) -> Any:
        """Return an array of a type."""
        return keras.ops.array(x, _doubled(dtype))


def _doubled(dtype: Any) -> Any:
    return "float64" if dtype == "float32" else dtype
