"""Complete a network of a script by its data: the task, the format of the input, and the shapes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from edgephys.applications.arrays.answers import answers_of, recognised
from edgephys.applications.arrays.application import AUTO, CLASSIFICATION, TASKS, UNIT
from edgephys.applications.arrays.ends import ending, widest
from edgephys.applications.task import Shares
from edgephys.core.errors import ModelError, UsageError
from edgephys.models import user_data
from edgephys.models.files.keras import lower
from edgephys.models.imported_keras import inputs_of
from edgephys.models.input_data import proposed
from edgephys.networks.backend import keras
from edgephys.networks.function import FunctionNet
from edgephys.networks.joined import joined


def completed(net: FunctionNet, shares: Shares, data: Path) -> tuple[FunctionNet, tuple[str, ...]]:
    """Return a network with its task, the format of its input and its shapes, and what its user should know.

    The training examples alone decide the format.
    Raises: as ``FunctionNet.build``; DataError as the reader of a user's data, and for answers that do not fit.
    """
    if net.task not in (AUTO, *TASKS):
        raise UsageError(f"task must be one of {', '.join((AUTO, *TASKS))}, not {net.task}")
    own = net.returned()
    model, inputs = joined(own, net.where), inputs_of(own)
    users = user_data.read(data, inputs)
    shape, output = (tuple(tensors[0].shape[1:]) for tensors in (model.inputs, model.outputs))
    task = recognised(users, output) if net.task == AUTO else net.task
    answers_of(users, task, output, data)
    notes = [f"task {task}"] if net.task == AUTO else []
    form = net.input
    if net.input_format == AUTO:
        form = proposed(users.inputs[shares.parts(len(users.inputs), UNIT, False, data)[0]], net.input_bits)
        notes.append(f"input format {form}, which holds the training examples; --set input_format=... states another")
    outside = (users.inputs < (form.low - 0.5) * form.step) | (users.inputs > (form.high + 0.5) * form.step)
    if outside.any():
        notes.append(
            f"{np.count_nonzero(outside):,} of {outside.size:,} input values are beyond {form} and are clipped"
        )
    graph = None
    try:
        graph = lower(model, form, net.network_function)
    except ModelError as error:
        notes.append(f"the network can be trained, but not emitted as it stands: {error}")
    bits = net.bits if "bits" in net.arguments else widest(model)
    last = ending(model, graph) if task == CLASSIFICATION else ""
    keras.utils.clear_session()  # the model that is trained has the names that the script gives
    stated = dataclasses.replace(net, task=task, input_format=str(form), bits=bits)
    stated = dataclasses.replace(stated, network_inputs=inputs if len(inputs) > 1 else {})
    return dataclasses.replace(stated, network_input=shape, network_output=output, network_ending=last), tuple(notes)
