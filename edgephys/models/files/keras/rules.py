"""The rule of each class of Keras layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgephys.core.errors import ModelError
from edgephys.models.files.keras import (
    activations,
    convolutions,
    dense,
    embedding,
    gated,
    merge,
    moves,
    pools,
    softmaxes,
    tables,
)
from edgephys.models.files.keras.reading import KerasReading, KerasValue
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.edges import Edges
from edgephys.networks.gated_operator import GatedOperator
from edgephys.networks.layers import ChannelActivation, ConstituentMean, FixedRounding, FrameSum, Pairs, ReceivedSum
from edgephys.networks.table_dense import TableDense

Rule = Callable[[KerasReading, Any, Sequence[KerasValue]], KerasValue]

_LAYERS, _OURS = keras.layers, qkeras
RULES: dict[type, Rule] = {
    _LAYERS.Dense: dense.dense,
    _OURS.QDense: dense.dense,
    _OURS.QDenseBatchnorm: dense.dense,
    **dict.fromkeys((_LAYERS.Conv1D, _LAYERS.Conv2D, _OURS.QConv1D, _OURS.QConv2D), dense.convolution),
    **dict.fromkeys((_LAYERS.DepthwiseConv2D, _OURS.QDepthwiseConv2D, _OURS.QConv2DBatchnorm), dense.convolution),
    **dict.fromkeys((_LAYERS.DepthwiseConv1D, _OURS.QDepthwiseConv2DBatchnorm), dense.convolution),
    **dict.fromkeys((_LAYERS.SeparableConv1D, _LAYERS.SeparableConv2D), convolutions.separable),
    **dict.fromkeys((_OURS.QSeparableConv1D, _OURS.QSeparableConv2D), convolutions.separable),
    **dict.fromkeys(
        (_LAYERS.Conv1DTranspose, _LAYERS.Conv2DTranspose, _OURS.QConv2DTranspose), convolutions.transposed
    ),
    **dict.fromkeys(
        (_LAYERS.AveragePooling1D, _LAYERS.AveragePooling2D, _OURS.QAveragePooling2D), pools.average_pooling
    ),
    **dict.fromkeys((_LAYERS.GlobalAveragePooling1D, _LAYERS.GlobalAveragePooling2D), pools.global_average),
    _OURS.QGlobalAveragePooling2D: pools.global_average,
    **dict.fromkeys((_LAYERS.MaxPooling1D, _LAYERS.MaxPooling2D), pools.max_pooling),
    **dict.fromkeys((_LAYERS.GlobalMaxPooling1D, _LAYERS.GlobalMaxPooling2D), pools.global_maximum),
    **dict.fromkeys((_LAYERS.ZeroPadding1D, _LAYERS.ZeroPadding2D), dense.zero_padding),
    **dict.fromkeys((_LAYERS.Cropping1D, _LAYERS.Cropping2D), moves.crop),
    **dict.fromkeys((_LAYERS.UpSampling1D, _LAYERS.UpSampling2D), moves.upsample),
    _LAYERS.Rescaling: activations.rescaled,
    _LAYERS.Permute: moves.permute,
    _LAYERS.RepeatVector: moves.repeat,
    _LAYERS.Embedding: embedding.embedding,
    _LAYERS.Flatten: moves.flatten,
    _LAYERS.Reshape: moves.reshape,
    _LAYERS.Concatenate: moves.concatenate,
    _LAYERS.Add: merge.add,
    _LAYERS.Subtract: merge.subtract,
    _LAYERS.Multiply: merge.multiply,
    _LAYERS.Average: merge.average,
    _LAYERS.Maximum: merge.maximum,
    _LAYERS.Minimum: merge.minimum,
    **dict.fromkeys((_LAYERS.BatchNormalization, _OURS.QBatchNormalization), activations.elementwise),
    **dict.fromkeys((_LAYERS.ELU, _LAYERS.Normalization), activations.elementwise),
    _LAYERS.PReLU: activations.parametric,
    _LAYERS.LeakyReLU: activations.leaky,
    _LAYERS.ReLU: activations.relu,
    _LAYERS.Softmax: softmaxes.softmax_layer,
    _LAYERS.Activation: activations.activation,
    _OURS.QActivation: activations.quantised,
    **dict.fromkeys((_LAYERS.Dropout, _LAYERS.SpatialDropout1D, _LAYERS.SpatialDropout2D), activations.dropped),
    **dict.fromkeys((_LAYERS.AlphaDropout, _LAYERS.GaussianDropout, _LAYERS.GaussianNoise), activations.dropped),
    **dict.fromkeys((_LAYERS.ActivityRegularization, _LAYERS.Identity), activations.dropped),
    ChannelActivation: activations.channels,
    FixedRounding: activations.fixed_rounding,
    ConstituentMean: merge.constituent_mean,
    Pairs: merge.pairs,
    ReceivedSum: merge.received_sum,
    FrameSum: merge.frame_sum,
    TableDense: tables.table_dense,
    GatedOperator: gated.gated_operator,
    Edges: gated.edges,
}
"""The rule of every class of layer."""
IN_TIME: dict[Rule, Rule] = {
    **{
        rule: rule
        for rule in (
            *(dense.dense, activations.activation, activations.quantised, activations.relu, activations.leaky),
            *(activations.elementwise, activations.dropped, activations.rescaled),
            *(dense.convolution, convolutions.separable, convolutions.transposed, dense.zero_padding),
            *(pools.average_pooling, pools.global_average, pools.max_pooling, pools.global_maximum),
            *(moves.crop, moves.upsample, activations.parametric, softmaxes.softmax_layer),
        )
    },
    moves.flatten: moves.flatten_each,
    moves.reshape: moves.reshape_each,
    moves.permute: moves.permute_each,
    moves.repeat: moves.repeat_each,
}
"""Rules of layers that TimeDistributed may call for each element of an axis, and what they become then."""


def rule_of(layer: Any) -> tuple[Any, Rule | None]:
    """Return the layer that is computed, and its rule; None where it has none.

    Raises: ModelError for a TimeDistributed of a layer that it cannot call for each element.
    """
    if not isinstance(layer, _LAYERS.TimeDistributed):
        return layer, RULES.get(type(layer))
    rule = RULES.get(type(layer.layer))
    if rule not in IN_TIME:
        raise ModelError(
            f"layer '{layer.name}': TimeDistributed of {type(layer.layer).__name__} cannot be read; use it with a "
            f"dense layer, a convolution, a pooling, a move or an activation"
        )
    return layer.layer, IN_TIME[rule]
