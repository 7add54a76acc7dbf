"""The rival's networks, in the layers of HGQ2; runs in the rival's environment.

Batch normalisation in every dense layer, folded into quantised weights in each step (QEinsumDenseBatchnorm), one width
for each weight (kbi, saturates symmetrically), one for each channel of activations (kif, wraps, integer bits are
traced), shared by the constituents: as in the public permutation-invariant JEDI-linear models. All start from 7 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import keras
from hgq.config import LayerConfigScope, QuantizerConfig, QuantizerConfigScope
from hgq.constraints import MinMax
from hgq.layers import QAdd, QDenseT, QEinsumDenseBatchnorm, QSum
from hgq.regularizers import MonoL1

FIRST_BITS = 7
"""Bits of weights, and fractional bits of activations, before training."""
L1 = 1e-8
"""Price of a bit of a quantiser, beside that of EBOPs."""
TABLE_BITS, TABLE_INTEGER = 8, 2
"""Bits of what a table returns, before training, and those of them before the point."""


def build(settings: dict[str, Any]) -> Any:
    """Return the untrained network: (jet, constituent, feature) -> (jet, class) logits."""
    n, features = settings["shape"]
    weights = QuantizerConfigScope(
        place=("weight", "bias"),
        default_q_type="kbi",
        overflow_mode="SAT_SYM",
        b0=FIRST_BITS,
        i0=0,
        fr=MonoL1(L1),
        ir=MonoL1(L1),
    )
    activations = QuantizerConfigScope(
        place="datalane",
        default_q_type="kif",
        overflow_mode="WRAP",
        round_mode=settings["rounding"],
        f0=FIRST_BITS,
        fr=MonoL1(L1),
        ic=MinMax(0, 12),
        heterogeneous_axis=(-1,),
    )
    with ExitStack() as stack:
        for scope in (weights, activations, LayerConfigScope(beta0=settings["beta"])):
            stack.enter_context(scope)
        inputs = keras.Input((n, features), name="constituents")
        return keras.Model(inputs, NETWORKS[settings["network"]](inputs, settings), name="rival")


def dense(x: Any, width: int, name: str, activation: str | None = "relu") -> Any:
    """Return a dense layer with batch normalisation, of each constituent alike where ``x`` holds constituents."""
    if len(x.shape) == 2:
        layer = QEinsumDenseBatchnorm("bc,cC->bC", width, bias_axes="C", activation=activation, name=name)
    else:
        shape = (x.shape[1], width)
        layer = QEinsumDenseBatchnorm("bnc,cC->bnC", shape, bias_axes="C", activation=activation, name=name)
    return layer(x)


def hidden(x: Any, widths: Sequence[int], name: str) -> Any:
    """Return ``x`` after dense layers with ReLU, called NAME_1, NAME_2, ..."""
    for index, width in enumerate(widths, 1):
        x = dense(x, width, f"{name}_{index}")
    return x


def mean(x: Any, name: str, keepdims: bool = False) -> Any:
    """Return the mean over the constituents, whose number is a power of two: a sum and a shift."""
    return QSum(axes=1, scale=1 / x.shape[1], keepdims=keepdims, name=name)(x)


def deepsets(inputs: Any, settings: dict[str, Any]) -> Any:
    """Return logits: phi of each constituent, their mean, rho of it."""
    x = hidden(inputs, settings["phi"], "phi")  # (jet, constituent, width)
    x = hidden(mean(x, "pool"), settings["rho"], "rho")  # (jet, width)
    return dense(x, settings["classes"], "logits", None)


def linear_interaction(inputs: Any, settings: dict[str, Any]) -> Any:
    """Return logits: each constituent and the mean of all meet in a sum, each term behind a ReLU of its own.

    Source: arXiv 2508.15468 (JEDI-linear), in the widths of our network.
    """
    x = hidden(inputs, settings["phi"], "phi")
    width = settings["meeting"]
    every = dense(mean(x, "context", keepdims=True), width, "every")  # (jet, 1, width)
    x = QAdd(name="meeting")([dense(x, width, "own"), every])
    x = hidden(x, settings["objects"], "object")
    x = hidden(mean(x, "pool"), settings["rho"], "rho")
    return dense(x, settings["classes"], "logits", None)


def table_set(inputs: Any, settings: dict[str, Any]) -> Any:
    """Return logits of a network of tables: an edge between two layers is a table of one quantised number.

    Each constituent's 8 numbers and those of the mean meet in a sum, the mean of which is classified by 24 hidden
    sums with batch normalisation. Widths are learnt for each edge, shared by the constituents.
    Source: arXiv 2604.22293 (HGQ-LUT), its network on sets; the widths are its own, not ours.
    """
    edges: dict[str, Any] = {"heterogeneous_axis": (-2, -1), "homogeneous_axis": None}
    entering = {"overflow_mode": "WRAP", "round_mode": settings["rounding"], "f0": FIRST_BITS, **edges}
    leaving = {"overflow_mode": "SAT", "round_mode": "RND", "b0": TABLE_BITS, "i0": TABLE_INTEGER, **edges}

    def tables(x: Any, width: int, name: str, normalised: bool = False) -> Any:
        of_input, of_table = QuantizerConfig("kif", "datalane", **entering), QuantizerConfig("kbi", "table", **leaving)
        return QDenseT(width, iq_conf=of_input, toq_conf=of_table, batch_norm=normalised, name=name)(x)

    x = tables(inputs, 8, "phi")
    every = tables(mean(x, "context", keepdims=True), 8, "every")
    x = QAdd(name="meeting")([tables(x, 8, "own"), every])
    x = tables(mean(x, "pool"), 24, "rho", normalised=True)
    return tables(x, settings["classes"], "logits")


NETWORKS = {"deepsets": deepsets, "linear_interaction": linear_interaction, "table_set": table_set}
