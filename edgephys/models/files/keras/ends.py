"""Round the outputs of a model, which are floats where it ends with a batch normalisation or a float activation."""

from __future__ import annotations

from typing import Any

from edgephys.core.errors import UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.networks.backend import keras, qkeras

MODES = ((Rounding.TRN, Overflow.WRAP), (Rounding.RND_CONV, Overflow.SAT))
"""What a format may state: nothing, or QKeras' own modes, which are meant in both cases."""


def with_rounded_outputs(model: Any, form: Fixed) -> Any:
    """Return a model whose outputs are rounded, half to even, and clipped to a format, by QKeras' quantized_bits.

    Raises: UsageError for a format that states other modes.
    """
    if (form.rounding, form.overflow) not in MODES:
        raise UsageError(f"--output-format must be a width and integer bits alone, such as fixed<16,6>, not {form}")
    rounding = {"bits": form.bits, "integer": form.integer - form.signed, "keep_negative": form.signed, "alpha": 1}
    ends = [
        qkeras.QActivation(qkeras.quantized_bits(**rounding), name=f"{tensor.name}_rounded")(tensor)
        for tensor in model.outputs
    ]
    return keras.Model(model.inputs, ends if len(ends) > 1 else ends[0], name=model.name)
