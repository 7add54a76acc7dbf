"""Our own layers in a model whose sums float32 does not hold: compared in float64."""

import numpy as np
import pytest

from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.models.files.keras.doubles import in_float64
from edgephys.models.files.keras.lower import lowered
from edgephys.networks.backend import keras, precision, qkeras
from edgephys.networks.layers import ChannelActivation, ConstituentMean, FixedRounding, FrameSum, Pairs, ReceivedSum

INPUT = Fixed(True, 20, 6)


def fixed_rounding():
    layer = FixedRounding((1,), "RND_CONV", "SAT", name="own")
    layer.keep_negative.assign([1]), layer.bits.assign([26]), layer.integers.assign([6])
    return layer


def pairs(x):
    return Pairs(name="own")([x, x])


OWN = {
    "FrameSum": ((3, 3, 2), lambda x: FrameSum([1, -3], name="own")(x)),
    "ChannelActivation": ((3, 2), lambda x: ChannelActivation(True, [4, 5], [20, 19], name="own")(x)),
    "FixedRounding": ((3, 2), lambda x: fixed_rounding()(x)),
    "ConstituentMean": ((4, 2), lambda x: ConstituentMean(name="own")(x)),
    "Pairs": ((3, 2), pairs),
    "ReceivedSum": ((3, 2), lambda x: ReceivedSum(1)(pairs(x))),
}


@pytest.mark.parametrize("name", OWN)
def test_a_layer_of_ours_computes_in_float64_the_integers_of_the_golden_model(name):
    shape, own = OWN[name]
    x = keras.Input(shape, name="x")
    wide = qkeras.QDense(2, kernel_quantizer=qkeras.quantized_bits(12, 0, alpha=1), use_bias=False, name="wide")
    model = keras.Model(x, own(wide(x)))
    wide.kernel.assign(np.random.default_rng(1).uniform(-1, 1, wide.kernel.shape))
    result = lowered(model, INPUT, "m")
    assert result.double
    inputs = np.random.default_rng(2).integers(INPUT.low, INPUT.high, (50, *shape), endpoint=True)
    with precision(double=True):
        expected = in_float64(model).predict(INPUT.values(inputs), verbose=0)
    output = result.graph.output.fixed
    assert np.array_equal(output.values(evaluate.run(result.graph, inputs)), expected)
