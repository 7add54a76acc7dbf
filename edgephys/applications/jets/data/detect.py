"""A parametric detector: what a general-purpose LHC detector would make of the true particles."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgephys.applications.jets.data.collide import Collisions, Floats, Ints

PHOTON = 22
NEUTRAL_HADRONS: tuple[int, ...] = (130, 310, 2112, 3122, 3322)

TRACK_ETA_MAX = 2.5
CALORIMETER_ETA_MAX = 3.0
PT_MIN_GEV = 0.5


@dataclass(frozen=True)
class Response:
    """How one kind of particle is seen.

    The relative width is sqrt(stochastic^2 / E + constant^2 + (slope * pT)^2); `angle` is the
    width of eta and of phi; neutrals that share a `cell` (in eta and phi) are one deposit.
    """

    stochastic: float
    constant: float
    slope: float
    angle: float
    cell: float


TRACK = Response(stochastic=0.0, constant=0.01, slope=1.0e-4, angle=0.001, cell=0.0)
ECAL = Response(stochastic=0.03, constant=0.005, slope=0.0, angle=0.005, cell=0.0174)
HCAL = Response(stochastic=1.0, constant=0.05, slope=0.0, angle=0.02, cell=0.087)


@dataclass(frozen=True)
class Reconstructed:
    """Reconstructed particles of a batch, massless, in the order of their events.

    Shape: every array (particle,). Units: GeV.
    """

    count: int
    event: Ints
    pt_gev: Floats
    eta: Floats
    phi: Floats


def detect(collisions: Collisions, random: np.random.Generator) -> Reconstructed:
    """Smear the particles of a batch.

    Charged particles are tracks (|eta| < 2.5): pT width 1 % plus 0.01 % a GeV in quadrature,
    1 mrad in angle. Photons: energy width 3 %/sqrt(E) plus 0.5 %, 5 mrad, cells of 0.0174.
    Neutral hadrons: 100 %/sqrt(E) plus 5 %, 20 mrad, cells of 0.087; both to |eta| < 3. What is
    left below 0.5 GeV of pT is lost. No pile-up, magnetic field or inefficiency.
    The factor on the energy is log-normal with mean one, so that no energy can turn negative.

    Source: the numbers are our choice, in the spirit of the CMS detector (JINST 3 S08004).
    """
    pt = np.hypot(collisions.px, collisions.py)
    eta = np.arcsinh(collisions.pz / np.maximum(pt, 1e-9))
    photon = collisions.pdg == PHOTON
    hadron = np.isin(np.abs(collisions.pdg), NEUTRAL_HADRONS)
    inside = np.abs(eta) < CALORIMETER_ETA_MAX
    track = ~photon & ~hadron & (np.abs(eta) < TRACK_ETA_MAX)
    parts = [
        _smear(_sum_cells(collisions, chosen, eta, response.cell), response, random)
        for chosen, response in (
            (track, TRACK),
            (photon & inside, ECAL),
            (hadron & inside, HCAL),
        )
    ]
    event, measured_pt, measured_eta, measured_phi = (np.concatenate(column) for column in zip(*parts, strict=True))
    selected = measured_pt > PT_MIN_GEV
    order = np.argsort(event[selected], kind="stable")
    return Reconstructed(
        count=collisions.count,
        event=event[selected][order].astype(np.int64),
        pt_gev=measured_pt[selected][order],
        eta=measured_eta[selected][order],
        phi=measured_phi[selected][order],
    )


def _sum_cells(
    collisions: Collisions, chosen: npt.NDArray[np.bool_], eta: Floats, cell: float
) -> tuple[Ints, Floats, Floats, Floats]:
    """Add the momenta of what falls into one cell of one event; a cell of 0 adds nothing up."""
    event = collisions.event[chosen]
    axes = [part[chosen] for part in (collisions.px, collisions.py, collisions.pz)]
    if cell == 0.0:
        return event, axes[0], axes[1], axes[2]
    phi = np.arctan2(axes[1], axes[0])
    row = np.floor(eta[chosen] / cell).astype(np.int64) + 10_000
    column = np.floor(phi / cell).astype(np.int64) + 10_000
    keys, inverse = np.unique((event * 100_000 + row) * 100_000 + column, return_inverse=True)
    px, py, pz = (add_up(inverse, part, keys.size) for part in axes)
    return keys // 10_000_000_000, px, py, pz


def add_up(group: Ints, values: Floats, groups: int) -> Floats:
    """Add the values of each group, always in the same order.

    Shape: (value,) to (group,).
    """
    sums: Floats = np.bincount(group, weights=values, minlength=groups).astype(np.float64)
    return sums


def _smear(
    deposit: tuple[Ints, Floats, Floats, Floats], response: Response, random: np.random.Generator
) -> tuple[Ints, Floats, Floats, Floats]:
    """Draw (event, pT, eta, phi) as measured from (event, px, py, pz) as they were."""
    event, px, py, pz = deposit
    pt = np.maximum(np.hypot(px, py), 1e-9)
    energy = np.hypot(pt, pz)
    variance = response.stochastic**2 / energy + response.constant**2 + (response.slope * pt) ** 2
    width = np.sqrt(np.log1p(variance))  # of the logarithm, so that the mean factor is one
    factor = np.exp(width * random.standard_normal(pt.size) - 0.5 * width**2)
    eta = np.arcsinh(pz / pt) + response.angle * random.standard_normal(pt.size)
    phi = np.arctan2(py, px) + response.angle * random.standard_normal(pt.size)
    return event, pt * factor, eta, np.mod(phi + np.pi, 2.0 * np.pi) - np.pi
