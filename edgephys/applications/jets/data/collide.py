"""Proton collisions at 13 TeV with one class of jet in each: Pythia 8 events as flat arrays."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgephys.core.errors import ToolError, not_installed

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SHARED_SETTINGS: tuple[str, ...] = (
    "Beams:idA = 2212",
    "Beams:idB = 2212",
    "Beams:eCM = 13000.",
    "PhaseSpace:pTHatMin = 990.",
    "PhaseSpace:pTHatMax = 1010.",
    "ParticleDecays:limitTau0 = on",  # what flies further than 10 mm meets the detector
    "ParticleDecays:tau0Max = 10.",
    "Print:quiet = on",
    "Random:setSeed = on",
)

HADRONIC_W: tuple[str, ...] = ("24:onMode = off", "24:onIfAny = 1 2 3 4 5")
HADRONIC_Z: tuple[str, ...] = ("23:onMode = off", "23:onIfAny = 1 2 3 4 5")


@dataclass(frozen=True)
class Process:
    """One class: the hard scatters that make it and the particles that its jets must lie on."""

    settings: tuple[str, ...]
    truth_ids: tuple[int, ...]
    decays: bool


PROCESSES: dict[str, Process] = {
    "g": Process(("HardQCD:gg2gg = on", "HardQCD:qqbar2gg = on"), (21,), decays=False),
    "q": Process(
        (
            "HardQCD:qq2qq = on",
            "HardQCD:gg2qqbar = on",
            "HardQCD:qqbar2qqbarNew = on",
            "HardQCD:nQuarkNew = 3",
        ),
        (1, 2, 3),
        decays=False,
    ),
    "w": Process(("WeakDoubleBoson:ffbar2WW = on", *HADRONIC_W), (24,), decays=True),
    "z": Process(
        ("WeakDoubleBoson:ffbar2gmZgmZ = on", "WeakZ0:gmZmode = 2", *HADRONIC_Z),
        (23,),
        decays=True,
    ),
    "t": Process(("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *HADRONIC_W), (6,), decays=True),
}


@dataclass(frozen=True)
class Collisions:
    """Visible final particles and the true jet origins of a batch of events, flattened.

    Shape: `event`, `pdg`, `px`, `py`, `pz`, `e` (particle,); `truth_*` (origin,).
    Units: GeV. `event` counts from 0 and never falls.
    """

    count: int
    event: Ints
    pdg: Ints
    px: Floats
    py: Floats
    pz: Floats
    e: Floats
    truth_event: Ints
    truth_pt_gev: Floats
    truth_eta: Floats
    truth_phi: Floats


def import_pythia() -> ModuleType:
    """Import Pythia 8.

    Raises: ToolError when it is not installed.
    """
    try:
        import awkward  # type: ignore[import-untyped,unused-ignore]  # noqa: F401  (of nextBatch)
        import pythia8mc
    except ImportError as missing:
        raise not_installed("jet generation", missing, "jets") from missing
    return pythia8mc  # type: ignore[no-any-return,unused-ignore]


def start(jet_class: str, seed: int) -> Any:
    """Start Pythia 8 on the process of one class.

    Raises: ToolError when Pythia is not installed or refuses its settings.
    Source: Bierlich et al., arXiv 2203.11601; the hard processes are Pythia's own, leading order.
    """
    pythia = import_pythia().Pythia("", False)
    for setting in (*SHARED_SETTINGS, *PROCESSES[jet_class].settings, f"Random:seed = {seed}"):
        if not pythia.readString(setting):
            raise ToolError(
                f"Pythia, class '{jet_class}': expected it to accept '{setting}', refused; "
                "install pythia8mc 8.317 or newer"
            )
    if not pythia.init():
        raise ToolError(
            f"Pythia, class '{jet_class}': expected init to succeed, it failed; "
            "check that its xmldoc folder was installed whole"
        )
    return pythia


def collide(pythia: Any, jet_class: str, count: int) -> Collisions:
    """Make a batch of events; those that Pythia gives up are left out."""
    import awkward

    batch = pythia.nextBatch(count)
    particles = batch.prt
    sizes = awkward.to_numpy(awkward.num(particles, axis=1)).astype(np.int64)
    offsets = np.cumsum(sizes) - sizes
    event = np.repeat(np.arange(sizes.size, dtype=np.int64), sizes)
    flat = awkward.flatten(particles, axis=1)
    pdg = awkward.to_numpy(flat.id).astype(np.int64)
    status = awkward.to_numpy(flat.status).astype(np.int64)
    daughter = awkward.to_numpy(flat.daughter1).astype(np.int64) + np.repeat(offsets, sizes)
    px, py, pz, e = (awkward.to_numpy(flat.p[axis]) for axis in ("px", "py", "pz", "e"))
    visible = (status > 0) & ~np.isin(np.abs(pdg), (12, 14, 16))
    origin = _origins(PROCESSES[jet_class], pdg, status, daughter)
    pt = np.hypot(px[origin], py[origin])
    return Collisions(
        count=int(sizes.size),
        event=event[visible],
        pdg=pdg[visible],
        px=px[visible],
        py=py[visible],
        pz=pz[visible],
        e=e[visible],
        truth_event=event[origin],
        truth_pt_gev=pt,
        truth_eta=np.arcsinh(pz[origin] / pt),
        truth_phi=np.arctan2(py[origin], px[origin]),
    )


def _origins(process: Process, pdg: Ints, status: Ints, daughter: Ints) -> npt.NDArray[np.bool_]:
    """Mark the particles that a jet of this class comes from.

    A W, Z or top is taken as it decays, after all recoil: the copy whose daughter is another
    particle. A quark or gluon is taken as it leaves the hard scatter (status 23), before it showers.
    """
    kind = np.abs(pdg)
    source = (status < 0) & (kind[daughter] != kind) if process.decays else status == -23
    origin: npt.NDArray[np.bool_] = source & np.isin(kind, process.truth_ids)
    return origin
