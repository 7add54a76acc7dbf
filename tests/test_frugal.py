"""Frugal rounding: digits are paid for; and what keeps digits never adds one."""

import dataclasses

import numpy as np
import pytest
from compress_tasks import NETS, model_of, task_of
from qkeras import QDense, quantized_bits

from edgephys.compress import digits, learned_widths
from edgephys.compress.learned_widths import INPUT
from edgephys.compress.model_structure import (
    activation_formats,
    activation_layers,
    kernel_integers,
    kernel_layers,
    kernel_step,
)
from edgephys.compress.rounding import BudgetedRounding
from edgephys.compress.stages.finetune import Finetune, patience_of
from edgephys.compress.stages.frugal import Frugal, PricedRounding
from edgephys.compress.stages.untie import Untie
from edgephys.core.errors import UsageError
from edgephys.core.rounding import Rounding
from edgephys.graph.ops import Requantise
from edgephys.models.files.keras import lower
from edgephys.networks.backend import keras

pytestmark = pytest.mark.usefixtures("uncompiled")

NET = NETS["deepsets"]
ENDLESS = keras.Variable(1.0, trainable=False)
QUICK = {"epochs": 2, "batch": 64}


def digits_of(model):
    return {layer.name: digits.count(kernel_integers(layer)) for layer in kernel_layers(model)}


def total(model):
    return sum(count.sum() for count in digits_of(model).values())


def test_without_a_price_the_nearest_integer_is_chosen_and_with_one_the_cheapest():
    layer = model_of(NET).get_layer("phi_2")
    nearest = kernel_integers(layer)
    free, dear = (PricedRounding(layer, lambda price=price: np.full(6, price, np.float32)) for price in (0.0, 1e3))
    step = 2.0**-5
    assert np.allclose(free.value(), nearest * step, atol=step / 2 + 1e-7)  # of two equally near ones either
    assert not np.any(dear.value())


def test_a_price_chooses_what_is_lost_least_for_its_digits():
    """31 is 32 - 1, two digits; 32 is one and lies a step away."""
    layer = model_of(NET).get_layer("phi_2")
    layer.kernel.assign(np.full((6, 5), 15 * 2.0**-5))
    step_squared = (2.0**-5) ** 2 / 2
    below, above = (
        PricedRounding(layer, lambda price=price: np.full(6, price, np.float32))
        for price in (0.9 * step_squared, 1.1 * step_squared)
    )
    assert np.all(below.value() == 15 * 2.0**-5) and np.all(above.value() == 16 * 2.0**-5)


def test_a_budget_is_never_exceeded_and_the_nearest_within_it_is_taken():
    layer = model_of(NET).get_layer("phi_2")
    kernel = BudgetedRounding(layer, ENDLESS)
    before = digits.count(kernel_integers(layer))
    random = np.random.default_rng(1)
    wanted = random.uniform(-0.99, 0.99, (6, 5)).astype(np.float32)
    layer.kernel.assign(wanted)
    after = np.rint(kernel.value().numpy() * 32).astype(int)
    assert np.all(digits.count(after) <= before)
    for (i, j), count in np.ndenumerate(before):
        allowed = [n for n in range(-32, 32) if digits.count(np.array(n)) <= count]
        assert abs(after[i, j] - wanted[i, j] * 32) == pytest.approx(min(abs(n - wanted[i, j] * 32) for n in allowed))


@pytest.mark.parametrize("bits", [3, 8, 12])
def test_no_integer_costs_less_than_the_one_that_is_looked_up(bits):
    layer = model_of(dataclasses.replace(NET, bits=bits)).get_layer("phi_2")
    step, integers = kernel_step(layer), np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1))
    random = np.random.default_rng(bits)
    for price in (0.0, 0.1 * step**2, 3 * step**2, 0.01):
        kernel = PricedRounding(layer, lambda price=price: np.full(6, price, np.float32))
        weights = random.uniform(-1.1, 1.1, (6, 5))
        values, counts = kernel.best(weights.astype(np.float32))
        assert np.array_equal(counts, digits.count(np.rint(values.numpy() / step).astype(int)))
        costs = (weights[..., None] - integers * step) ** 2 / 2 + price * digits.count(integers)
        cost = (weights - values.numpy()) ** 2 / 2 + price * counts.numpy()
        np.testing.assert_allclose(cost, costs.min(-1), rtol=1e-5)


@pytest.fixture(scope="module", params=["tensor", pytest.param("channel", marks=pytest.mark.slow)])
def made(request):
    stage = Frugal(**QUICK, learning_rate=0.05, lut_cost=1e-4, widths=request.param)
    return stage.apply(model_of(NET), task_of(NET), 1).model


def bits_of(layer):
    signed, integer, fraction = activation_formats(layer)
    return [signed + i + f for i, f in zip(integer, fraction, strict=True)]


def test_a_price_removes_digits_and_narrows_activations_and_input(made):
    assert total(made) < total(model_of(NET)) / 2
    found = {layer.name: bits_of(layer) for layer in activation_layers(made)}
    assert INPUT in found and max(found[INPUT]) <= 12 and min(map(min, found.values())) < 6


def test_what_was_learned_is_what_the_ordinary_layers_do():
    model = learned_widths.learnable(model_of(NET), "channel", task_of(NET).input)
    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, learned_widths.LearnedWidth):
            layer.fraction.assign((layer.start - random.integers(0, 4, layer.start.shape)) / learned_widths.PACE)
            layer.largest.assign(random.uniform(0.01, 3, layer.start.shape))
    x = task_of(NET).validation[0]
    settled = learned_widths.settled(model)
    assert {type(layer).__name__ for layer in activation_layers(settled)} == {"ChannelActivation"}
    np.testing.assert_array_equal(settled.predict(x, verbose=0), model.predict(x, verbose=0))
    again = learned_widths.settled(learned_widths.learnable(settled, "channel"))
    assert [bits_of(a) for a in activation_layers(again)] == [bits_of(a) for a in activation_layers(settled)]


@pytest.mark.slow
def test_a_channel_has_no_more_integer_bits_than_its_values_need():
    layer = learned_widths.LearnedWidth(False, [2, 2, 2], [4, 4, 4], per_channel=True)
    x = np.tile(np.array([3.0, 0.7, 0.1], np.float32), (8, 1))
    for _ in range(400):
        layer(x, training=True)
    assert layer.integer_bits().numpy().tolist() == [2, 0, -3]


def test_widths_stand_still_at_the_end():
    model = learned_widths.learnable(model_of(NET), "tensor")
    layer = next(of for of in model.layers if isinstance(of, learned_widths.LearnedWidth))
    layer.fraction.assign((layer.start - 0.6) / learned_widths.PACE)
    before = float(layer.bits())
    learned_widths.hold(model, 13, 20)
    assert float(layer.moves) == 1.0
    learned_widths.hold(model, 14, 20)
    assert float(layer.moves) == 0.0 and float(layer.bits()) == before
    assert float(layer.fraction) * learned_widths.PACE == pytest.approx(round(float(layer.start) - 0.6))


def test_what_roundings_lose_is_held_at_the_end_too():
    kernel = PricedRounding(model_of(NET).get_layer("phi_2"), lambda: np.zeros(6, np.float32))
    gradient = np.ones((6, 5), np.float32)
    kernel.add_gradient(gradient, 64)
    held = kernel.squares.numpy()
    kernel.moves.assign(0.0)
    kernel.add_gradient(2 * gradient, 64)
    assert np.array_equal(kernel.squares.numpy(), held) and held.min() > 0


@pytest.mark.slow
def test_finetuning_with_digits_kept_adds_none(made):
    tuned = Finetune(**QUICK, learning_rate=0.3, digits="kept").apply(made, task_of(NET), 1).model
    before, after = digits_of(made), digits_of(tuned)
    assert all(np.all(after[name] <= before[name]) for name in before)
    assert any(
        not np.array_equal(kernel_integers(made.get_layer(n)), kernel_integers(tuned.get_layer(n))) for n in before
    )


def test_a_weight_that_swings_is_frozen_at_the_integer_nearest_to_its_mean_and_no_other_is():
    layer = model_of(NET).get_layer("phi_2")
    kernel = BudgetedRounding(layer, keras.Variable(0.1, trainable=False))
    first = kernel.value().numpy()
    at = tuple(np.argwhere(digits.count(kernel_integers(layer)) == 2)[0])
    step, copy = 2.0**-5, first.copy()
    for turn in range(40):  # three steps of four at the one, one of four a power of two away
        copy[at] = first[at] if turn % 4 else np.sign(first[at]) * 2.0**-1
        layer.kernel.assign(copy)
        kernel.freeze.update()
    assert kernel.freeze.frozen.numpy().sum() == 1 == kernel.freeze.frozen.numpy()[at]
    layer.kernel.assign(np.full(copy.shape, 3 * step))
    assert kernel.value().numpy()[at] == pytest.approx(kernel.freeze.frozen_value.numpy()[at])
    assert abs(kernel.freeze.frozen_value.numpy()[at] - kernel.freeze.mean.numpy()[at]) < 4 * step


def test_patience_falls_from_the_first_epoch_to_the_last():
    assert [round(patience_of(epoch, 5), 4) for epoch in (0, 2, 4)] == [0.04, 0.0225, 0.005]
    assert patience_of(0, 1) == 0.04


@pytest.mark.slow
def test_finetuning_with_digits_kept_leaves_roundings_free():
    model = Untie().apply(model_of(NET), task_of(NET), 1).model
    tuned = Finetune(**QUICK, learning_rate=0.05, digits="kept").apply(model, task_of(NET), 1).model
    free = Finetune(**QUICK, learning_rate=0.05).apply(model, task_of(NET), 1).model
    name = "phi_2"
    assert not np.array_equal(tuned.get_layer(name).get_weights()[1], model.get_layer(name).get_weights()[1])

    def rounded_up(of):
        graph = lower(of, task_of(NET).input, "m")
        return sum(node.fixed.rounding is Rounding.RND for node in graph.nodes if isinstance(node.op, Requantise))

    assert rounded_up(tuned) == rounded_up(model) > rounded_up(free) == 0


@pytest.mark.slow
def test_a_second_frugal_stage_goes_on_with_the_rounded_input(made):
    again = Frugal(**QUICK, lut_cost=1e-4).apply(made, task_of(NET), 1).model
    assert [layer.name for layer in again.layers].count(INPUT) == 1


def test_kernels_of_too_many_bits_are_refused_by_name():
    layer = QDense(3, kernel_quantizer=quantized_bits(17, 0, alpha=1), name="wide")
    layer.build((None, 4))
    message = "layer 'wide': its weights must have 16 bits at most, not 17, as a table has an entry for each half step"
    with pytest.raises(UsageError, match=message):
        PricedRounding(layer, lambda: np.zeros(4, np.float32))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lut_cost": 0.0}, "lut_cost must be above 0, not 0"),
        ({"teacher": ("t",), "teacher_share": 1.0}, "teacher_share must be below 1 here: the loss of a rounding is"),
        ({"recovery": 0.5}, "recovery must be 1 or more, not 0.5"),
        ({"widths": "x"}, "widths must be one of channel, tensor, fixed, not 'x'"),
        ({"inputs": "x"}, "inputs must be one of learned, fixed, not 'x'"),
        ({"widths": "fixed"}, "inputs can only learn widths with the activations; set widths = 'channel'"),
    ],
)
def test_parameters_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        Frugal(**wrong)


def test_digits_are_free_or_kept():
    with pytest.raises(UsageError, match="digits must be one of free, kept, not 'x'"):
        Finetune(digits="x")
