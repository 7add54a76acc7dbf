"""Jet substructure: the sixteen observables of the public high-level-feature taggers, from a jet's constituents.

Energy correlation functions over the 32 hardest constituents above 2 GeV, as fractions z of their summed pT:
e2(b) = sum z_i z_j R_ij^b and e3(b) = sum z_i z_j z_k (R_ij R_ik R_jk)^b; 1e3(b) takes the smallest of the
three angles instead of their product, 2e3(b) the product of the two smallest. R is the distance in (eta, phi).
C1(b) = e2(b), C2(b) = e3(b) / e2(b)^2, D2(b) = e3(b) / e2(b)^3, D2(a, b) = e3(a) / e2(b)^(3 a / b),
M2(b) = 1e3(b) / e2(b), N2(b) = 2e3(b) / e2(b)^2.

The published features are computed from all constituents, all but `zlogz` and `multiplicity` after
modified-mass-drop grooming (names in `_mmdt`), and z in `zlogz` is a share of the energy. Ours are not groomed, see
32 constituents at most, and z is a share of pT: figures on the one set do not hold for the other.
Source: the set and its order: OpenML 42468 and arXiv 1804.06913; C: arXiv 1305.0007; D2: arXiv 1409.6298; M2, N2
and the generalised functions: arXiv 1609.07483.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.jets.data.files import FEATURES

CONSTITUENTS = 32
COORDINATES = FEATURES
"""What the observables are computed from: (pt, etarel, phirel), in this order."""

HIGH_LEVEL: tuple[str, ...] = (
    "zlogz", "c1_b0", "c1_b1", "c1_b2", "c2_b1", "c2_b2", "d2_b1", "d2_b2", "d2_a1_b1", "d2_a1_b2",
    "m2_b1", "m2_b2", "n2_b1", "n2_b2", "mass", "multiplicity",
)  # fmt: skip
"""Columns of `observables`. `d2_a1_b1` is `d2_b1` by definition; the public set has both."""

BLOCK_JETS = 512
"""Jets computed at a time: small enough for the cache. Every block is full, so that a jet's bits are its own."""

Floats = NDArray[np.float64]


def observables(constituents: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the observables of jets from (pt, etarel, phirel) of constituents, zeros behind the last.

    Jets of 1 constituent have 0 in all but `multiplicity`. Where an angle or a third constituent is missing
    the ratio is 0: of 2 constituents, C2, D2, M2 and N2.

    Shape: (jet, constituent, 3) -> (jet, 16), columns `HIGH_LEVEL`.
    Units: pT and mass in GeV (massless constituents), angles in radians.
    Exact: float64 in a fixed order, rounded to float32 at the end; no jet depends on those beside it.
    """
    jets, count, _ = constituents.shape
    out = np.zeros((jets, len(HIGH_LEVEL)), np.float32)
    for start in range(0, jets, BLOCK_JETS):
        part = constituents[start : start + BLOCK_JETS]
        block = np.zeros((3, count, BLOCK_JETS))  # (coordinate, constituent, jet)
        block[:, :, : len(part)] = part.transpose(2, 1, 0)
        out[start : start + BLOCK_JETS] = _block(*block)[:, : len(part)].T
    return out


def _block(pt: Floats, eta: Floats, phi: Floats) -> Floats:
    """Compute a full block: (constituent, jet) -> (observable, jet)."""
    total = np.add.reduce(pt, axis=0)
    z = pt / np.where(total > 0, total, 1.0)
    present = pt > 0
    zlogz = np.add.reduce(z * np.log(np.where(present, z, 1.0)), axis=0)
    e2, mass2, angles = _pairs(z, eta, phi)
    three = _triples(z, angles)
    c2 = [_ratio(three[f"e3_b{b}"], e2[b] ** 2) for b in (1, 2)]
    d2 = [_ratio(three[f"e3_b{b}"], e2[b] ** 2 * e2[b]) for b in (1, 2)]
    d2_a1_b2 = _ratio(three["e3_b1"], e2[2] * np.sqrt(e2[2]))  # (e2)^(3 alpha / beta)
    m2 = [_ratio(three[f"least_b{b}"], e2[b]) for b in (1, 2)]
    n2 = [_ratio(three[f"least_two_b{b}"], e2[b] ** 2) for b in (1, 2)]
    mass, multiplicity = total * np.sqrt(mass2), np.add.reduce(present.astype(np.float64), axis=0)
    return np.stack([zlogz, *e2, *c2, *d2, d2[0], d2_a1_b2, *m2, *n2, mass, multiplicity])


def _pairs(z: Floats, eta: Floats, phi: Floats) -> tuple[list[Floats], Floats, Floats]:
    """Return e2 for beta = 0, 1, 2, (mass / pT)^2, and the angles (constituent, constituent, jet), where i < j."""
    count, jets = z.shape
    e2, mass2 = [np.zeros(jets) for _ in range(3)], np.zeros(jets)
    angles = np.zeros((count, count, jets))
    for i in range(count - 1):
        deta, dphi = eta[i + 1 :] - eta[i], phi[i + 1 :] - phi[i]
        dphi -= 2.0 * np.pi * np.rint(dphi / (2.0 * np.pi))
        weight = z[i] * z[i + 1 :]
        square = deta * deta + dphi * dphi
        angle = np.sqrt(square)
        for beta, power in enumerate((weight, weight * angle, weight * square)):
            e2[beta] += np.add.reduce(power, axis=0)
        half = np.sinh(deta / 2.0) ** 2 + np.sin(dphi / 2.0) ** 2  # (cosh deta - cos dphi) / 2 without cancellation
        mass2 += 4.0 * np.add.reduce(weight * half, axis=0)
        angles[i, i + 1 :] = angle
    return e2, mass2, angles


def _triples(z: Floats, angles: Floats) -> dict[str, Floats]:
    """Return e3, 1e3 ('least') and 2e3 ('least_two') for beta = 1 and 2."""
    count, jets = z.shape
    names = [f"{name}_b{beta}" for name in ("e3", "least", "least_two") for beta in (1, 2)]
    sums = {name: np.zeros(jets) for name in names}
    for i in range(count - 2):
        for j in range(i + 1, count - 1):
            first, second, third = angles[i, j], angles[i, j + 1 :], angles[j, j + 1 :]  # (jet,), twice (k, jet)
            outer = second * third
            least = np.minimum(np.minimum(second, third), first)
            least_two = np.minimum(np.minimum(second, third) * first, outer)
            pair = z[i] * z[j]
            for name, angle in (("e3", outer * first), ("least", least), ("least_two", least_two)):
                weighted = z[j + 1 :] * angle
                sums[f"{name}_b1"] += pair * np.add.reduce(weighted, axis=0)
                sums[f"{name}_b2"] += pair * np.add.reduce(weighted * angle, axis=0)
    return sums


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), 0.0)
