"""Run the trained model with Keras itself and with TFLite, on one thread each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgephys.bench.runners import InPython, Runner, in_steps
from edgephys.bench.worker import Job
from edgephys.core.errors import ToolError
from edgephys.core.fixed import Integers
from edgephys.models.trained import load_keras


def keras(job: Job, x: Integers) -> Runner:
    """Return the Keras model, called as ``model.predict_on_batch``: the fastest of its own calls, and compiled."""
    from edgephys.networks.backend import keras, tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = load_keras(job.source)

    def bind(_: int) -> Callable[[Any], Any]:
        return model.predict_on_batch  # type: ignore[no-any-return]

    version = f"{keras.__version__} on {tf.__version__}"
    return InPython("Keras on TensorFlow", version, x, bind, _real(job), in_steps(job.output))


def tflite(job: Job, x: Integers) -> Runner:
    """Return TFLite's interpreter on the converted model; a call sets the input, runs and copies the output."""
    from edgephys.networks.backend import tf

    lite = getattr(tf, "lite", None)
    if lite is None:
        raise ToolError(f"TFLite is missing: TensorFlow {tf.__version__} comes without; pip install another")
    content = job.source.read_bytes()

    def bind(batch: int) -> Callable[[Any], Any]:
        interpreter = lite.Interpreter(model_content=content, num_threads=1)
        source = interpreter.get_input_details()[0]["index"]
        target = interpreter.get_output_details()[0]["index"]
        interpreter.resize_tensor_input(source, [batch, *x.shape[1:]])
        interpreter.allocate_tensors()
        put, invoke, get = interpreter.set_tensor, interpreter.invoke, interpreter.get_tensor

        def call(values: Any) -> Any:
            put(source, values)
            invoke()
            return get(target)

        return call

    return InPython("TFLite", tf.__version__, x, bind, _real(job), in_steps(job.output))


def _real(job: Job) -> Callable[[Integers], Any]:
    return lambda chunk: np.ascontiguousarray(job.input.values(chunk), np.float32)
