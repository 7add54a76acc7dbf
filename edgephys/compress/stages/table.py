"""The table of stages: what ``kind`` may say in a pipeline."""

from __future__ import annotations

from edgephys.compress.stage import Stage
from edgephys.compress.stages.bitwise import Bitwise
from edgephys.compress.stages.codebook import Codebook
from edgephys.compress.stages.distil import Distil
from edgephys.compress.stages.finetune import Finetune
from edgephys.compress.stages.frugal import Frugal
from edgephys.compress.stages.nested import Nested
from edgephys.compress.stages.prune import Prune
from edgephys.compress.stages.shrink import Shrink
from edgephys.compress.stages.smooth import Smooth
from edgephys.compress.stages.sparse_momentum import SparseMomentum
from edgephys.compress.stages.spectrum import Spectrum
from edgephys.compress.stages.untie import Untie

STAGES: dict[str, type[Stage]] = {
    "finetune": Finetune,
    "distil": Distil,
    "bitwise": Bitwise,
    "codebook": Codebook,
    "smooth": Smooth,
    "nested": Nested,
    "frugal": Frugal,
    "prune": Prune,
    "spectrum": Spectrum,
    "sparse_momentum": SparseMomentum,
    "shrink": Shrink,
    "untie": Untie,
}
