"""Reconstructed particles to labelled jets: FastJet, the match to the truth, the public columns."""

import warnings
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from edgephys.applications.jets.data.collide import Collisions, Floats, Ints
from edgephys.applications.jets.data.detect import Reconstructed, add_up
from edgephys.applications.jets.data.layout import CLASSES, JET_NAMES, PARTICLE_NAMES, PARTICLES_PER_JET
from edgephys.core.errors import not_installed

RADIUS = 0.8
PT_RANGE_GEV = (800.0, 1300.0)
ETA_MAX = 2.0
MATCH_RADIUS = 0.4
JETS_PER_EVENT = 2
CLUSTER_PT_MIN_GEV = 400.0


@dataclass(frozen=True)
class JetRows:
    """Jets as the public files hold them.

    Shape: `particles` (jet, 150, 16), `jets` (jet, 12). Units: GeV.
    """

    particles: npt.NDArray[np.float32]
    jets: npt.NDArray[np.float32]


@dataclass(frozen=True)
class _ClusteredJets:
    """Jets of a batch and, sorted by jet and falling pT, the particles that they hold."""

    event: Ints
    px: Floats
    py: Floats
    pz: Floats
    e: Floats
    member_jet: Ints
    member: Ints


def import_fastjet() -> ModuleType:
    """Import FastJet.

    Raises: ToolError when it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its SWIG types warn, and crash where that is an error
            import fastjet
        import vector
    except ImportError as missing:
        raise not_installed("jet generation", missing, "jets") from missing
    vector.register_awkward()
    return fastjet  # type: ignore[no-any-return,unused-ignore]


def cluster(reconstructed: Reconstructed, truth: Collisions, jet_class: str) -> JetRows:
    """Cluster the two leading anti-kT jets (R = 0.8) and keep those on a true origin of the class.

    Kept are 800 < pT < 1300 GeV, |eta| < 2.0 (the whole cone is then inside the calorimeters) and
    an origin within 0.4 in (eta, phi). Mass and energy are those of massless constituents.

    Units: GeV and radians.
    Source: Cacciari, Salam, Soyez, arXiv 0802.1189 (anti-kT) and 1111.6097 (FastJet).
    """
    clustered = _find(reconstructed)
    pt = np.hypot(clustered.px, clustered.py)
    eta = np.arcsinh(clustered.pz / pt)
    phi = np.arctan2(clustered.py, clustered.px)
    origin_pt = _match(truth, clustered.event, eta, phi)
    good = (pt > PT_RANGE_GEV[0]) & (pt < PT_RANGE_GEV[1]) & (np.abs(eta) < ETA_MAX)
    good &= origin_pt > 0.0
    member_good = good[clustered.member_jet]
    jet = (np.cumsum(good) - 1)[clustered.member_jet[member_good]]
    member = clustered.member[member_good]
    axis = _Axis(pt[good], eta[good], phi[good], clustered.e[good])
    z = reconstructed.pt_gev[member] / axis.pt[jet]
    zlogz = add_up(jet, z * np.log(z), axis.pt.size)
    mass2 = clustered.e**2 - pt**2 - clustered.pz**2
    jets = np.zeros((axis.pt.size, len(JET_NAMES)))
    jets[:, 0] = axis.pt / origin_pt[good]
    jets[:, 1] = axis.pt
    jets[:, 2] = axis.eta
    jets[:, 3] = np.sqrt(np.maximum(mass2[good], 0.0))
    jets[:, 4] = zlogz
    jets[:, 5] = np.bincount(jet, minlength=axis.pt.size)
    jets[:, 6 + CLASSES.index(jet_class)] = 1.0
    return JetRows(_particle_rows(reconstructed, jet, member, axis), jets.astype(np.float32))


@dataclass(frozen=True)
class _Axis:
    """Jet axes: every array (jet,)."""

    pt: Floats
    eta: Floats
    phi: Floats
    e: Floats


def _find(reconstructed: Reconstructed) -> _ClusteredJets:
    """Run FastJet on a whole batch and keep the two leading jets of each event."""
    fastjet = import_fastjet()
    import awkward  # type: ignore[import-untyped,unused-ignore]

    px, py = reconstructed.pt_gev * np.cos(reconstructed.phi), reconstructed.pt_gev * np.sin(reconstructed.phi)
    pz, e = reconstructed.pt_gev * np.sinh(reconstructed.eta), reconstructed.pt_gev * np.cosh(reconstructed.eta)
    sizes = np.bincount(reconstructed.event, minlength=reconstructed.count)
    flat = awkward.zip({"px": px, "py": py, "pz": pz, "E": e}, with_name="Momentum4D")
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
    sequence = fastjet.ClusterSequence(awkward.unflatten(flat, sizes), definition)
    members = sequence.constituent_index(min_pt=CLUSTER_PT_MIN_GEV)
    jets_per_event = awkward.to_numpy(awkward.num(members, axis=1))
    jet_event = np.repeat(np.arange(reconstructed.count), jets_per_event)
    jet_sizes = awkward.to_numpy(awkward.flatten(awkward.num(members, axis=2)))
    jet = np.repeat(np.arange(jet_event.size), jet_sizes)
    local = awkward.to_numpy(awkward.flatten(members, axis=None)).astype(np.int64)
    member = local + (np.cumsum(sizes) - sizes)[jet_event[jet]]
    order = np.lexsort((-reconstructed.pt_gev[member], jet))
    jet, member = jet[order], member[order]
    sums = [add_up(jet, part[member], jet_event.size) for part in (px, py, pz, e)]
    leading = _leading(jet_event, np.hypot(sums[0], sums[1]))
    selected = leading[jet]
    return _ClusteredJets(
        event=jet_event[leading],
        px=sums[0][leading],
        py=sums[1][leading],
        pz=sums[2][leading],
        e=sums[3][leading],
        member_jet=(np.cumsum(leading) - 1)[jet[selected]],
        member=member[selected],
    )


def _leading(event: Ints, pt: Floats) -> npt.NDArray[np.bool_]:
    """Mark the first jets of each event by pT."""
    order = np.lexsort((-pt, event))
    first = np.searchsorted(event, event)  # events never fall
    marks = np.zeros(event.size, dtype=bool)
    marks[order] = np.arange(event.size) - first < JETS_PER_EVENT
    return marks


def _match(truth: Collisions, event: Ints, eta: Floats, phi: Floats) -> Floats:
    """Return the pT of the nearest origin within the matching radius, 0 where there is none."""
    same = truth.truth_event[None, :] == event[:, None]  # (jet, origin)
    distance = np.hypot(truth.truth_eta[None, :] - eta[:, None], wrap(truth.truth_phi[None, :] - phi[:, None]))
    distance = np.where(same, distance, np.inf)
    if distance.shape[1] == 0:
        return np.zeros(event.size)
    nearest = np.argmin(distance, axis=1)
    close = distance[np.arange(event.size), nearest] < MATCH_RADIUS
    return np.where(close, truth.truth_pt_gev[nearest], 0.0)


def wrap(angle: Floats) -> Floats:
    """Bring an angle into [-pi, pi)."""
    wrapped: Floats = np.mod(angle + np.pi, 2.0 * np.pi) - np.pi
    return wrapped


def _particle_rows(reconstructed: Reconstructed, jet: Ints, member: Ints, axis: _Axis) -> npt.NDArray[np.float32]:
    """Fill the 16 columns of the hardest 150 particles of each jet, zeros behind them.

    `etarel`, `phirel`: offset from the jet axis. `etarot`, `phirot`: the same, turned about the
    axis so that the second hardest particle has phirot = 0 and etarot > 0. `erel`, `ptrel`: share
    of the jet's E and pT. `deltaR`: length of the offset. `costheta`: cosine of the angle to the
    beam, `costhetarel`: to the jet axis.
    """
    rank = np.arange(jet.size) - np.searchsorted(jet, jet)
    pt, eta, phi = reconstructed.pt_gev[member], reconstructed.eta[member], reconstructed.phi[member]
    e = pt * np.cosh(eta)
    etarel, phirel = eta - axis.eta[jet], wrap(phi - axis.phi[jet])
    second = np.flatnonzero(rank == 1)
    turn = np.zeros(axis.pt.size)
    turn[jet[second]] = np.arctan2(phirel[second], etarel[second])
    cos, sin = np.cos(turn)[jet], np.sin(turn)[jet]
    columns = {
        "px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "e": e,
        "erel": e / axis.e[jet], "pt": pt, "ptrel": pt / axis.pt[jet],
        "eta": eta, "etarel": etarel, "etarot": cos * etarel + sin * phirel,
        "phi": phi, "phirel": phirel, "phirot": cos * phirel - sin * etarel,
        "deltaR": np.hypot(etarel, phirel), "costheta": np.tanh(eta),
        "costhetarel": (np.cos(phirel) + np.sinh(eta) * np.sinh(axis.eta[jet]))
        / (np.cosh(eta) * np.cosh(axis.eta[jet])),
    }  # fmt: skip
    rows = np.zeros((axis.pt.size, PARTICLES_PER_JET, len(PARTICLE_NAMES)), dtype=np.float32)
    stored = rank < PARTICLES_PER_JET
    for index, name in enumerate(PARTICLE_NAMES):
        rows[jet[stored], rank[stored], index] = columns[name][stored]
    return rows  # (jet, particle, feature)
