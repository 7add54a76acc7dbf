"""The sparse matrix of given places that is nearest to a matrix in the spectral norm.

Nearest is W' with the least largest singular value of W - W'. Where W' must be 0 the difference is W, elsewhere it is
free: that is the completion of a matrix to a least norm. It is found by alternating projections (von Neumann) onto two
convex sets, the matrices of at most that norm, by a cut of the singular values, and those that are W where W' is 0. The
norm is lowered step by step, as long as the projections reach it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHRINKAGE = 0.97
"""The norm of one step, as a share of the last one."""
LEAST_GAIN = 0.995
"""The share of the last norm that a step must reach."""
PROJECTIONS = 40
"""Most projections of one step."""


def fitted(whole: Floats, free: NDArray[np.bool_]) -> Floats:
    """Return the matrix that is 0 where not ``free`` and near ``whole`` in the spectral norm.

    Its error is at most that of the free elements of ``whole`` themselves.  Shape: (row, column), all.
    """
    error = np.where(free, 0.0, whole)
    norm = np.linalg.norm(error, 2)
    while norm > 0 and free.any():
        lower, reached = error, norm
        for _ in range(PROJECTIONS):
            left, values, right = np.linalg.svd(lower, full_matrices=False)
            lower = np.where(free, (left * np.minimum(values, SHRINKAGE * norm)) @ right, whole)
            reached = np.linalg.norm(lower, 2)
            if reached <= LEAST_GAIN * norm:
                break
        else:
            break
        error, norm = lower, reached
    return np.where(free, whole - error, 0.0)
