"""A kernel whose scale is one power of two gets an equal fixed step; the function stays, bit for bit."""

import numpy as np
import pytest
from keras_models import INPUT, activation, bits, model_of, scattered

from edgephys.compress.model_structure import kernel_integers, kernel_layers, kernel_step
from edgephys.compress.stages.untie import Untie
from edgephys.compress.trainable import trainable
from edgephys.core.errors import ModelError
from edgephys.networks.backend import qkeras


def dense(bias=None, **settings):
    quantiser = qkeras.quantized_bits(settings.pop("bits", 4), settings.pop("integer", 0), **settings)
    return qkeras.QDense(5, kernel_quantizer=quantiser, bias_quantizer=bits(5) if bias is None else bias, name="d")


def scaled(layer, factor, shape=(6,)):
    """Return a model whose kernel has as many steps in each column, of a size that ``factor`` states."""
    model = scattered(model_of(shape, layer), 3)
    layer.kernel.assign(np.clip(layer.kernel, -1, 1) * factor)
    first = np.zeros(layer.kernel.shape, bool)
    first[0] = True
    layer.kernel.assign(np.where(first, factor, layer.kernel))
    return model


def outputs(model):
    steps = np.random.default_rng(3).integers(INPUT.low, INPUT.high + 1, (200, *model.input_shape[1:]))
    return np.asarray(model(INPUT.values(steps).astype(np.float32)))


CASES = {
    "small": (lambda: dense(alpha="auto_po2"), 0.24),
    "large": (lambda: dense(alpha="auto_po2"), 7.0),
    "integer": (lambda: dense(alpha="auto_po2", integer=2, bits=6), 0.4),
    "default": (lambda: dense(), 0.9),
    "fixed": (lambda: dense(alpha=2.0), 1.5),
    "half": (lambda: dense(alpha=0.5, symmetric=1), 1.0),
    "bias": (lambda: dense(alpha="auto_po2", bias=qkeras.quantized_bits(4, 0, alpha="auto_po2")), 0.24),
}


@pytest.mark.parametrize("case", CASES)
def test_a_kernel_of_one_power_of_two_gets_a_step_with_the_same_weights_and_outputs(case):
    make, factor = CASES[case]
    model = scaled(make(), factor)
    own = model.get_layer("d")
    before = np.asarray(own.kernel_quantizer_internal(own.kernel))
    written = trainable(model)
    (layer,) = kernel_layers(written)
    assert np.array_equal(kernel_integers(layer) * kernel_step(layer), before)
    assert layer.kernel_quantizer_internal.alpha == 1 and np.array_equal(outputs(written), outputs(model))
    assert len(np.unique(before)) > 4


def test_a_convolutions_kernel_and_ties_of_its_weights_stay_the_same():
    """QKeras rounds a tie away from zero for an automatic scale, and to the even step for a fixed one."""
    quantiser = qkeras.quantized_bits(4, 0, alpha="auto_po2")
    model = scaled(qkeras.QConv2D(3, 2, kernel_quantizer=quantiser, name="d"), 0.875, (4, 4, 2))
    own = model.get_layer("d")
    kernel = np.array(own.kernel)
    kernel[1, 0] = np.array([[0.0625, -0.0625, 0.3125], [0.1875, 0.5625, -0.3125]])
    own.kernel.assign(kernel)
    written = trainable(model)
    layer = written.get_layer("d")
    assert np.array_equal(outputs(written), outputs(model))
    same = np.asarray(layer.kernel) == kernel
    assert same.mean() > 0.7 and not same[1, 0, 0, 0]  # a tie is its rounded value, all others stay as they were


def test_a_bias_with_a_scale_of_its_own_has_a_fixed_step_that_stages_can_refine():
    layer = dense(alpha="auto_po2", bias=qkeras.quantized_bits(4, 0, alpha="auto_po2"))
    model = scattered(model_of((6,), layer, activation("quantized_relu(4, 2)", "r")), 3)
    layer.kernel.assign(np.clip(layer.kernel, -0.9, 0.9) / 4)
    layer.kernel.assign(np.where(np.arange(6)[:, None] == 0, 0.24, layer.kernel))
    layer.bias.assign(np.array(layer.bias) * 20)
    written = trainable(model)
    quantiser = written.get_layer("d").bias_quantizer_internal
    assert quantiser.alpha == 1 and quantiser.integer > 2
    assert np.array_equal(outputs(written), outputs(model))

    class Task:
        input = INPUT

    assert Untie().apply(written, Task(), 1).notes["free_roundings"] == 1


@pytest.mark.parametrize(
    "layer",
    [lambda: dense(alpha="auto"), lambda: dense(alpha=0.75), lambda: dense(alpha="auto_po2", keep_negative=False)],
    ids=["auto", "fixed", "unsigned"],
)
def test_another_scale_stays_and_is_refused_by_the_layers_name(layer):
    model = scaled(layer(), 0.6)
    written = trainable(model)
    assert np.array_equal(outputs(written), outputs(model))
    with pytest.raises(ModelError, match=r"^layer 'd': its kernel must have quantized_bits\(bits, integer, alpha=1\)"):
        kernel_layers(written)
