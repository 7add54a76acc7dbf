"""The table of stages: what ``kind`` may say in a pipeline."""

from __future__ import annotations

from edgephys.compress.bitwise import Bitwise
from edgephys.compress.codebook import Codebook
from edgephys.compress.distil import Distil
from edgephys.compress.finetune import Finetune
from edgephys.compress.frugal import Frugal
from edgephys.compress.nested import Nested
from edgephys.compress.prune import Prune
from edgephys.compress.shrink import Shrink
from edgephys.compress.smooth import Smooth
from edgephys.compress.sparse_momentum import SparseMomentum
from edgephys.compress.spectrum import Spectrum
from edgephys.compress.stage import Stage
from edgephys.compress.untie import Untie

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
