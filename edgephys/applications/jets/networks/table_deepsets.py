"""Deep Sets whose layers are learnt tables: a function of each constituent, a mean, a function of the mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgephys.applications.jets.networks.deepsets import DeepSets
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.layers import ConstituentMean
from edgephys.networks.table_dense import TableDense
from edgephys.networks.widths import rounding

INPUT_INTEGER = 0
"""The first tables read features in [-1, 1): standardised ones have 98 % of their values there."""


@dataclass(frozen=True)
class TableDeepSets(DeepSets):
    """State a Deep Sets jet tagger without a multiplication: each edge of a layer is a table of its input's few bits.

    ``bits`` is the width of what tables read within the network, ``first_bits`` and ``pool_bits`` that of the features
    and of the mean; the entries of tables have ``table_fraction`` bits behind the point. One ReLU stands between phi
    and the mean: without it the mean would be a sum of histograms of single features.
    Source: as ``TableDense``. Ours: the set network, and its one ReLU.
    """

    bits: int | None = field(default=5, kw_only=True)
    phi: tuple[int, ...] = (32,)
    rho: tuple[int, ...] = (16,)
    first_bits: int = 6
    pool_bits: int = 6
    table_fraction: int = 5
    knots: int = 12
    batch_norm: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits is None:
            raise UsageError("bits must be 2..8, the width that tables read, not float")
        for name in ("bits", "first_bits", "pool_bits"):
            if not 2 <= getattr(self, name) <= 8:
                raise UsageError(f"{name} must be 2..8, the width that tables read, not {getattr(self, name)}")
        if not 1 <= self.table_fraction <= 12:
            raise UsageError(f"table_fraction must be 1..12, not {self.table_fraction}")
        if self.batch_norm:
            raise UsageError("batch_norm must be false: tables hold their own normalisation")

    def build(self) -> Any:
        """Return the untrained Keras model: (jet, constituent, feature) -> (jet, class) logits."""
        inputs = keras.Input((self.constituents, len(self.features)), name="constituents")
        x = rounding(self.first_bits, INPUT_INTEGER, "features_read")(inputs)
        x, reads = self._tables(x, self.phi, "phi", f"fixed<{self.first_bits},{INPUT_INTEGER + 1}>", last=True)
        x = ConstituentMean(name="pool")(keras.layers.ReLU(name="phi_relu")(x))  # (jet, width)
        x = qkeras.QActivation(qkeras.quantized_relu(self.pool_bits, 0), name="pool_quantised")(x)
        x, reads = self._tables(x, self.rho, "rho", f"ufixed<{self.pool_bits},0>")
        logits = TableDense(self.classes, reads, self.table_fraction, self.knots, normalise=False, name="logits")(x)
        return keras.Model(inputs, logits, name="table_deepsets")

    def _tables(self, x: Any, widths: tuple[int, ...], name: str, reads: str, last: bool = False) -> tuple[Any, str]:
        """Return ``x`` after layers of tables, and the format that the next one reads.

        Where the ``last`` layer ends in a mean, its sums are not rounded.
        """
        for index, width in enumerate(widths, 1):
            own = f"{name}_{index}"
            x = TableDense(width, reads, self.table_fraction, self.knots, name=own)(x)
            reads = f"fixed<{self.bits},1>"
            if not (last and index == len(widths)):
                x = rounding(int(self.bits or 0), 0, f"{own}_read")(x)
        return x, reads
