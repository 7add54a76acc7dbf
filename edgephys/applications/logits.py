"""The task of a model whose outputs are logits of classes, or are made from them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.classes import evaluated
from edgephys.applications.task import BATCH, Task
from edgephys.models.vectors import HeldOut
from edgephys.networks.backend import keras, predict


@dataclass(frozen=True, eq=False)
class LogitTask(Task):
    """Hold examples of classes; the loss is the cross entropy of a model's logits times ``scale``."""

    keras_metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    scale: float

    def logits(self, output: Any) -> Any:
        """Return the logits that a model's outputs are, or are made from."""
        return output * self.scale

    def losses(self, target: Any, output: Any) -> Any:
        """Return the cross entropy of each example."""
        return keras.losses.sparse_categorical_crossentropy(target, self.logits(output), from_logits=True)

    def loss(self, target: Any, output: Any, teacher_output: Any) -> Any:
        """Return the mean cross entropy; with a distillation, its share is the divergence from the teachers."""
        hard = keras.ops.mean(self.losses(target, output))
        if self.distillation is None:
            return hard
        t, share = self.distillation.temperature, self.distillation.share
        soft = keras.ops.log_softmax(teacher_output / t)
        divergence = keras.ops.exp(soft) * (soft - keras.ops.log_softmax(self.logits(output) / t))
        return share * t * t * keras.ops.mean(keras.ops.sum(divergence, -1)) + (1 - share) * hard

    def validation_score(self, model: Any) -> float:
        """Return the accuracy on the validation examples."""
        x, labels = self.validation
        return float(np.mean(self.predicted(model, x).argmax(-1) == labels))

    def validation_metrics(self, model: Any) -> dict[str, Any]:
        """Return accuracy and AUC, with errors, on the validation examples."""
        x, labels = self.validation
        return self.evaluate(model, HeldOut(self.input.quantise(x), labels))

    def test_metrics(self, model: Any) -> dict[str, Any]:
        """Return accuracy and AUC, with errors, on the test examples: once in a pipeline, at its end."""
        return self.evaluate(model, self.test)

    def predicted(self, model: Any, x: Any) -> NDArray[np.floating[Any]]:
        """Return the logits of a model.  Shape: (example, class)."""
        return np.asarray(self.logits(predict(model, x, BATCH)))

    def own_outputs(self, model: Any) -> NDArray[np.floating[Any]]:
        """Return a model's logits of the training examples.  Shape: (example, class)."""
        return self.predicted(model, self.train[0])

    def evaluate(self, model: Any, examples: HeldOut) -> dict[str, Any]:
        """Return accuracy and AUC by class, with their errors, on input integers."""
        logits = self.predicted(model, self.input.values(examples.inputs).astype(np.float32))
        return evaluated(logits, examples.labels, self.classes, self.metric.unit)

    def scaled(self, scale: float) -> Any:
        """Return the task of a model whose logits are to be multiplied by ``scale``."""
        return dataclasses.replace(self, scale=scale)
