"""Give an imported Keras model the record of a network that a function returns: a task, a format and its shapes.

It then has a task on its user's data as a network of a user's script has, and whatever trains that trains it, too.
"""

from __future__ import annotations

import dataclasses
from math import prod
from pathlib import Path

from edgephys.applications.arrays.answers import answers_of, recognised
from edgephys.applications.arrays.application import CLASSIFICATION, RECONSTRUCTION
from edgephys.applications.arrays.ends import ending, widest
from edgephys.applications.arrays.task import standardisation
from edgephys.applications.task import Shares
from edgephys.core.errors import DataError, ModelError
from edgephys.models import user_data
from edgephys.models.files.keras import lower
from edgephys.models.imported_keras import inputs_of
from edgephys.models.trained import Trained
from edgephys.networks.function import FunctionNet

FUNCTION = "imported"
"""What stands in the record for the name of the function."""


def as_trained(imported: Trained, shares: Shares, data: Path) -> Trained:
    """Return an imported model with the card of one that is trained on a file of arrays: network, split and format.

    Its answers decide the task, as at the import. ``start`` of the card is the record of the import. The held-out
    vectors and the metrics are still those of the import.
    Raises: DataError as the reader of a user's data, and for answers that do not fit; ModelError where Keras sums do
    not fit float32, or where the outputs that are trained are not those that are emitted.
    """
    card, model = imported.card, imported.model
    if card.imported is None:
        raise ModelError(f"model '{card.name}': expected an imported model; its card states how it was trained")
    if card.approximated:
        raise ModelError(
            f"layer '{card.approximated[0].layer}': its softmax is computed by tables, which no training sees; import "
            f"{card.imported.file} without --keep-softmax, or without a softmax within the model"
        )
    shape, output = (tuple(tensors[0].shape[1:]) for tensors in (model.inputs, model.outputs))
    inputs = inputs_of(model)
    users = user_data.read(data, inputs)
    task = recognised(users, output)
    if task == RECONSTRUCTION and prod(shape) != prod(output):
        raise DataError(
            f"{data}: expected answers, an array y, found none, and {prod(output)} outputs cannot be trained to be "
            f"{prod(shape)} inputs; add y"
        )
    answers_of(users, task, output, data)
    form = dataclasses.replace(FunctionNet(), input_format=card.imported.input_format).input
    last, graph = ending(model), lower(model, form, card.name)
    if last and task != CLASSIFICATION:
        raise ModelError(
            f"model '{card.name}': the {last} at its end is left out of its integers, so that numbers cannot be its "
            f"answers; put QActivation(quantized_bits(bits, integer, alpha=1)) there instead, or give classes as y"
        )
    net = FunctionNet(
        network_function=FUNCTION,
        task=task,
        input_format=str(form),
        bits=widest(model),
        network_input=shape,
        network_inputs=inputs if len(inputs) > 1 else {},
        network_output=output,
        network_ending=ending(model, graph) if task == CLASSIFICATION else "",
    )
    recipe = {"script": Path(card.imported.file).stem, "net": dataclasses.asdict(net), **dataclasses.asdict(shares)}
    described = dataclasses.replace(
        card,
        recipe=recipe,
        seed=shares.seed,
        standardisation=standardisation(net),
        start={"name": card.name, **card.imported.to_record()},
        imported=None,
    )
    return dataclasses.replace(imported, card=described)
