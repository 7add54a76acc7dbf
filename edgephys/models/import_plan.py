"""How a file of another framework is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgephys.core.fixed import Fixed
from edgephys.models.files.softmax import SoftmaxForm

RANDOM_VECTORS = 1000
"""Random vectors on which a model is proven where no data are stated."""


@dataclass(frozen=True)
class ImportPlan:
    """State how a file is imported.

    ``input_format`` is that of an input which the file does not quantise; the data propose one where it is left out. To
    ``output_format`` the outputs of a Keras file are rounded. ``data`` is a file that ``user_data`` reads; ``vectors``
    is another form of it for an ONNX file: a .npz with ``inputs``, floats or integers in steps, and perhaps ``labels``.
    Without both, ``count`` random inputs are drawn with ``seed``. ``softmax`` is the form of softmaxes that are
    computed. ``force`` replaces a folder that is not ours.
    """

    input_format: Fixed | None = None
    output_format: Fixed | None = None
    data: Path | None = None
    vectors: Path | None = None
    count: int = RANDOM_VECTORS
    seed: int = 1
    softmax: SoftmaxForm | None = None
    force: bool = False


DEFAULT = ImportPlan()
