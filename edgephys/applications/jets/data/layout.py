"""The layout of the public 150-particle LHC jet files, which we also write.

Source: Zenodo record 3602260 (hls4ml LHC jet dataset, 150 particles).
"""

CLASSES: tuple[str, ...] = ("g", "q", "w", "z", "t")
"""Labels in the order of the one-hot columns, the last six but one of `jets`."""

PARTICLES_DATASET = "jetConstituentList"
JETS_DATASET = "jets"
PARTICLE_NAMES_DATASET = "particleFeatureNames"
JET_NAMES_DATASET = "jetFeatureNames"

PREFIX = "j1_"
"""What the public files put before a particle column; a reader may leave it out."""

PARTICLES_PER_JET = 150

PARTICLE_NAMES: tuple[str, ...] = (
    "px", "py", "pz", "e", "erel", "pt", "ptrel", "eta", "etarel", "etarot",
    "phi", "phirel", "phirot", "deltaR", "costheta", "costhetarel",
)  # fmt: skip

UNSTORED_NAMES: tuple[str, ...] = ("j1_pdgid",)
"""Listed last in the names of the public files, with no column behind it."""

JET_NAMES: tuple[str, ...] = (
    "j_ptfrac", "j_pt", "j_eta", "j_mass", "j_zlogz", "j_multiplicity",
    "j_g", "j_q", "j_w", "j_z", "j_t", "j_undef",
)  # fmt: skip

LABEL_COLUMNS = slice(-6, -1)
"""One-hot g, q, w, z, t in `jets`; the last column, j_undef, is zero."""
