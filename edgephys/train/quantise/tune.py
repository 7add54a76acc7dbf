"""Fine-tune a quantised model: the formats stay, the weights learn to round well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.networks.backend import keras
from edgephys.train.quantise.score import ACCURACY, Purpose

BATCH = 128
RATE = 5e-4
"""First learning rate of Adam; it falls to 0 along half a cosine."""
Progress = Callable[[int, int, Mapping[str, float]], None]


def tune(
    model: Any, x: Any, purpose: Purpose, rows: NDArray[np.int64], epochs: int, seed: int, progress: Progress | None
) -> None:
    """Train a model on the answers of some examples; ``x`` are their inputs, rounded as the model reads them."""
    keras.utils.set_random_seed(seed)
    steps = -(-len(rows) // BATCH) * epochs
    single = model.output_shape[-1] == 1
    losses: dict[bool, Any] = {
        True: keras.losses.BinaryCrossentropy(from_logits=not purpose.floats),
        False: keras.losses.SparseCategoricalCrossentropy(from_logits=not purpose.floats),
    }
    answers = np.asarray(purpose.answers)[rows]
    if purpose.name != ACCURACY:
        answers = answers.reshape(len(rows), *model.output_shape[1:])
    loss = losses[single] if purpose.name == ACCURACY else keras.losses.MeanSquaredError()
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps))
    model.compile(optimizer, loss, jit_compile=False)
    callbacks = []
    if progress is not None:
        callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=lambda at, logs: progress(at + 1, epochs, logs))]
    model.fit(x, answers, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=callbacks)
