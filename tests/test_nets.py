"""The networks: layers against loops, the same integers in any order of constituents, one contract for all."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_models import random_net
from small_model import trained

from edgephys.applications.jets.data.layout import PARTICLE_NAMES
from edgephys.applications.jets.data.substructure import HIGH_LEVEL
from edgephys.applications.jets.networks.deepsets import DeepSets
from edgephys.applications.jets.networks.interaction import InteractionNetwork
from edgephys.applications.jets.networks.linear_interaction import LinearInteractionNetwork
from edgephys.applications.jets.networks.mlp import Mlp
from edgephys.core.errors import UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.ops import Dense
from edgephys.models import trained as artefact
from edgephys.models.files.keras import lower
from edgephys.networks.backend import keras, predict, qkeras
from edgephys.networks.layers import RECIPROCAL_BITS, ChannelActivation, ConstituentMean, Pairs, ReceivedSum, reciprocal
from edgephys.networks.widths import dense
from edgephys.train.equalise import WeightRange, assign, rescaled

SMALL = {
    "deepsets": DeepSets(4, phi=(6, 5), rho=(5,)),
    "interaction": InteractionNetwork(4, effects=(6, 4), objects=(6, 4), classifier=(6,)),
    "mlp": Mlp(4, layers=(8, 6)),
    "linear_interaction": LinearInteractionNetwork(4, phi=(6,), meeting=5, objects=(4,), rho=(6,)),
}


@pytest.mark.parametrize("power", range(12))
def test_the_reciprocal_of_a_power_of_two_is_exact(power):
    assert reciprocal(2**power) == (1, power)


@given(st.integers(1, 5000))
def test_a_reciprocal_is_odd_ten_bits_wide_and_within_half_a_step(count):
    integer, fraction = reciprocal(count)
    assert integer % 2 == 1
    assert integer.bit_length() <= RECIPROCAL_BITS
    finest = RECIPROCAL_BITS - 1 + (count - 1).bit_length()
    error = abs(Fraction(integer) / 2**fraction - Fraction(1, count))
    assert error <= Fraction(1, 2 * 2**finest)
    assert error <= Fraction(1, count) / 2**RECIPROCAL_BITS * 2


@pytest.mark.parametrize("count", [1, 3, 8, 150])
def test_the_mean_is_the_sum_times_the_reciprocal(count):
    x = np.random.default_rng(count).integers(-128, 128, (20, count, 3))
    integer, fraction = reciprocal(count)
    found = np.asarray(ConstituentMean()(x.astype(np.float32)))
    assert (found == x.sum(1) * integer * 2.0**-fraction).all()
    assert ConstituentMean().compute_output_shape((None, count, 3)) == (None, 3)


def inputs_of(net, count, seed=1):
    generator = np.random.default_rng(seed)
    shape = (count, net.constituents, len(net.features))
    return generator.integers(net.input.low, net.input.high, shape, endpoint=True)


# Layers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 7])
def test_pairs_are_a_loop_over_receivers_and_all_other_senders(count):
    received, sent = np.random.default_rng(count).integers(-99, 99, (2, 10, count, 3)).astype(np.float32)
    found = np.asarray(Pairs()([received, sent]))
    assert found.shape == Pairs().compute_output_shape([(10, count, 3)] * 2) == (10, count, count - 1, 3)
    for receiver in range(count):
        others = [sender for sender in range(count) if sender != receiver]
        for place, sender in enumerate(others):
            assert (found[:, receiver, place] == received[:, receiver] + sent[:, sender]).all()


def test_the_received_sum_is_a_loop_over_the_edges_of_each_node():
    edges = np.random.default_rng(0).integers(-99, 99, (10, 4, 3, 2)).astype(np.float32)
    found = np.asarray(ReceivedSum()(edges))
    assert found.shape == ReceivedSum().compute_output_shape((10, 4, 3, 2)) == (10, 4, 2)
    for node in range(4):
        assert (found[:, node] == sum(edges[:, node, other] for other in range(3))).all()


@pytest.mark.parametrize("features", [3, 16])
def test_split_dense_layers_and_pairs_are_one_dense_layer_on_both_constituents(features):
    generator = np.random.default_rng(features)
    x = (generator.integers(-2048, 2048, (20, 4, features)) * 2.0**-8).astype(np.float32)
    receiver, sender, whole = dense(5, 6, "r"), dense(5, 6, "s", bias=False), dense(5, 6, "w")
    pairs = Pairs()([receiver(x), sender(x)])
    both = np.stack([np.concatenate([x[:, i], x[:, j]], -1) for i in range(4) for j in range(4) if j != i], 1)
    whole(both)
    kernel, bias, other = (generator.uniform(-1.3, 1.3, shape) for shape in ((features, 5), (5,), (features, 5)))
    for layer, weights in (
        (receiver, [kernel, bias]),
        (sender, [other]),
        (whole, [np.concatenate([kernel, other]), bias]),
    ):
        layer.set_weights(weights)
    found, expected = np.asarray(Pairs()([receiver(x), sender(x)])), np.asarray(whole(both))
    assert (found.reshape(expected.shape) == expected).all()
    assert len(np.unique(expected)) > 100 and found.shape == pairs.shape


# Orders -------------------------------------------------------------------------------------------

INVARIANT = {
    f"{name}, {len(features)} features": replace(SMALL[name], features=features, constituents=5)
    for name in ("deepsets", "interaction", "linear_interaction")
    for features in (("pt", "etarel", "phirel"), PARTICLE_NAMES)
}


@pytest.fixture(scope="module", params=INVARIANT)
def invariant(request):
    net = INVARIANT[request.param]
    return net, lower(random_net(net), net.input, "m")


@given(st.integers(0, 2**32 - 1), st.permutations(range(5)))
@settings(max_examples=30)
def test_shuffled_constituents_give_the_identical_integers(invariant, seed, order):
    net, graph = invariant
    x = inputs_of(net, 20, seed) >> 3  # few activations at their ends
    np.testing.assert_array_equal(evaluate.run(graph, x[:, order]), evaluate.run(graph, x))


def test_a_network_without_order_still_tells_features_and_jets_apart(invariant):
    net, graph = invariant
    x = inputs_of(net, 200) >> 3
    expected = evaluate.run(graph, x)
    assert len(np.unique(expected)) > 100
    assert (evaluate.run(graph, np.random.default_rng(0).permuted(x, axis=1)) != expected).any()


def test_a_perceptron_sees_the_order():
    net = SMALL["mlp"]
    graph = lower(random_net(net), net.input, "m")
    x = inputs_of(net, 200)
    assert (evaluate.run(graph, x[:, ::-1]) != evaluate.run(graph, x)).any()


# Published widths ---------------------------------------------------------------------------------


def parameters(*widths):
    """Count weights and biases of dense layers one after the other."""
    return sum((taken + 1) * given for taken, given in pairwise(widths))


@pytest.mark.parametrize("constituents", [8, 16, 32])
def test_the_papers_deep_sets_has_its_parameters_for_any_input(constituents):
    assert DeepSets(constituents).build().count_params() == parameters(3, 32, 32, 32, 32, 5) == 3461


@pytest.mark.parametrize(
    ("constituents", "effects", "classifier"),
    [(8, (12, 6), (170,)), (16, (12, 6), (170,)), (32, (3,), (512,)), (4, (12, 6), (170,)), (20, (3,), (512,))],
)
def test_the_papers_interaction_network_has_its_widths(constituents, effects, classifier):
    net = InteractionNetwork(constituents)
    assert net.widths() == {"effects": effects, "objects": (36, 18, 6), "classifier": classifier}
    expected = parameters(6, *effects) + parameters(3 + effects[-1], 36, 18, 6) + parameters(6, *classifier, 5)
    assert net.build().count_params() == expected


@pytest.mark.parametrize(
    ("constituents", "widths"),
    [
        (8, (120, 60, 32, 64, 64, 64, 32, 44)),
        (16, (88, 88, 44, 44, 44)),
        (32, (84, 88, 32, 32, 44, 32, 44)),
        (11, (120, 60, 32, 64, 64, 64, 32, 44)),
        (64, (84, 88, 32, 32, 44, 32, 44)),
    ],
)
def test_the_papers_perceptron_has_its_widths(constituents, widths):
    net = Mlp(constituents)
    assert net.widths() == {"layers": widths}
    assert net.build().count_params() == parameters(3 * constituents, *widths, 5)


def test_widths_that_are_stated_are_kept():
    assert InteractionNetwork(32, effects=(4, 2)).widths()["effects"] == (4, 2)
    assert InteractionNetwork(8, classifier=()).widths()["classifier"] == ()
    assert Mlp(8, layers=()).build().count_params() == parameters(24, 5)


# The contract of every network --------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, *(pytest.param(bits, marks=pytest.mark.slow) for bits in (6, 4))])
@pytest.mark.parametrize("name", SMALL)
def test_a_network_trains_a_step_saves_loads_lowers_and_equals_keras(name, bits, tmp_path):
    net = replace(SMALL[name], bits=bits)
    made = trained(net=net)
    before = made.model.get_weights()
    made.model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    x = net.input.values(made.held_out.inputs).astype(np.float32)
    assert np.isfinite(made.model.train_on_batch(x, made.held_out.labels))
    assert all((old != new).any() for old, new in zip(before, made.model.get_weights(), strict=True))
    again = artefact.load(artefact.save(made, tmp_path / made.name))
    graph = again.graph()
    integers = np.concatenate([again.held_out.inputs, inputs_of(net, 500)])
    found = np.asarray(again.model(net.input.values(integers).astype(np.float32)))
    golden = graph.output.fixed.values(evaluate.run(graph, integers))
    assert (golden == found).all() and len(np.unique(golden)) > 50


FEWER = [pytest.param(name, marks=pytest.mark.slow) if name == "interaction" else name for name in SMALL]
"""The small networks, the largest of which is left to the slow tests."""


@pytest.mark.parametrize("fit", WeightRange)
@pytest.mark.parametrize("name", FEWER)
def test_a_rescaled_network_equals_its_source_but_for_a_power_of_two(name, fit):
    net = replace(SMALL[name], bits=None, batch_norm=False)
    source, target = random_net(net, 3), net.build()
    source.set_weights([3 * weight + 0.1 for weight in source.get_weights()])
    x = np.random.default_rng(1).normal(size=(500, 4, 3)).astype(np.float32)
    start = rescaled(source, target, x, (99.9, 100), fit)
    assign(target, start)
    assert start.scale > 0 and np.log2(start.scale) % 1 == 0
    for layer, integer in start.integers.items():
        largest = max(np.abs(part).max() for part in start.weights[layer])
        assert largest <= 2.0**integer
        assert integer == 0 if fit is WeightRange.UNIT else largest > 2.0 ** (integer - 1)
    ours, theirs = start.scale * predict(target, x, 512), predict(source, x, 512)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
    top = np.sort(theirs, -1)
    clear = top[:, -1] - top[:, -2] > 1e-3 * np.abs(theirs).max()
    assert clear.mean() > 0.5 and (ours.argmax(-1) == theirs.argmax(-1))[clear].all()


@pytest.mark.parametrize("fit", WeightRange)
@pytest.mark.parametrize("name", FEWER)
def test_a_rescaled_networks_activations_fit_the_quantisers_of_its_target(name, fit):
    net = replace(SMALL[name], bits=None, batch_norm=False)
    source, target = random_net(net, 3), net.build()
    x = np.random.default_rng(1).normal(size=(500, 4, 3)).astype(np.float32)
    assign(target, rescaled(source, target, x, (99.9, 100), fit))
    for layer in target.layers:
        if isinstance(layer, keras.layers.ReLU) and "quantised" not in layer.name:
            reached = predict(keras.Model(target.inputs, layer.output), x, 512)
            assert np.mean(reached < 1) > 0.99


@pytest.mark.parametrize("name", FEWER)
def test_weights_in_ranges_of_their_own_lower_and_equal_keras(name):
    source = random_net(replace(SMALL[name], bits=None, batch_norm=False), 3)
    source.set_weights([weight / 9 for weight in source.get_weights()])
    x = np.random.default_rng(1).normal(size=(500, 4, 3)).astype(np.float32)
    start = rescaled(source, replace(SMALL[name], bits=6).build(), x, (99.9, 99), WeightRange.FITTED)
    assert min(start.integers.values()) < 0
    net = replace(SMALL[name], bits=6, weight_integers=start.integers)
    model = net.build()
    assign(model, start)
    graph = lower(model, net.input, name)
    integers = inputs_of(net, 500)
    found = predict(model, net.input.values(integers).astype(np.float32), 512)
    assert (graph.output.fixed.values(evaluate.run(graph, integers)) == found).all()
    for layer, integer in start.integers.items():
        constant = next(node.op.constant for node in graph.nodes if node.layer == layer and isinstance(node.op, Dense))
        assert np.abs(constant.integers).max() * 2.0**-constant.fraction <= 2.0**integer


# Saved, float, refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [None, 4])
def test_a_network_saves_loads_and_gives_the_same_numbers(bits, tmp_path):
    net = DeepSets(3, bits=bits, phi=(4,), rho=(4,))
    model = random_net(net)
    model.save(tmp_path / "m.keras")
    known = {kind.__name__: kind for kind in (qkeras.QDense, qkeras.QActivation)}
    known |= {kind.__name__: kind for kind in (qkeras.quantized_bits, qkeras.quantized_relu)}
    again = keras.models.load_model(tmp_path / "m.keras", custom_objects=known, compile=False, safe_mode=True)
    x = np.random.default_rng(0).normal(size=(50, 3, 3)).astype(np.float32)
    assert (np.asarray(model(x)) == np.asarray(again(x))).all()


def test_a_channel_without_a_bit_is_refused():
    with pytest.raises(UsageError, match="layer 'a': a channel needs integer and fraction bits, together at least 1"):
        ChannelActivation(False, [0, -4], [4, 4], name="a")


def test_channel_activations_are_saved_and_clip_with_a_gradient_inside_alone():
    import tensorflow as tf

    layer = ChannelActivation.from_config(ChannelActivation(True, [0, 1], [3, 2], name="a").get_config())
    x = tf.constant([[0.4, 2.5], [-3.0, -0.6]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    assert y.numpy().tolist() == [[0.375, 1.75], [-1.0, -0.5]]
    assert tape.gradient(y, x).numpy().tolist() == [[1, 0], [0, 1]]


def test_a_float_network_has_no_quantiser():
    assert {type(layer).__name__ for layer in DeepSets(bits=None, batch_norm=False).build().layers} == {
        "InputLayer",
        "Dense",
        "ReLU",
        "ConstituentMean",
    }


def test_the_input_format_saturates_and_rounds_to_even():
    assert DeepSets(input_bits=10, input_integer=3).input == Fixed(True, 10, 3, Rounding.RND_CONV, Overflow.SAT)


@pytest.mark.parametrize("bits", [0, 1, 17, -4])
@pytest.mark.parametrize("name", ["bits", "activation_bits"])
def test_a_width_out_of_range_is_refused(name, bits):
    with pytest.raises(UsageError, match=rf"^{name} must be 2\.\.16 or 'float', not {bits}$"):
        DeepSets(**{name: bits})


@pytest.mark.parametrize(
    ("net", "settings", "message"),
    [
        (DeepSets, {"bits": None, "activation_bits": 4}, r"activation_bits must be left out of a float network \(.*\)"),
        (DeepSets, {"constituents": 0}, r"constituents must be 1\.\.150, not 0"),
        (Mlp, {"constituents": 151}, r"constituents must be 1\.\.150, not 151"),
        (Mlp, {"features": ()}, "features must name 1 column or more, not none"),
        (DeepSets, {"phi": ()}, "phi must hold 1 width or more, not none"),
        (DeepSets, {"phi": (4, 0)}, r"phi must hold widths of 1 and over, up to 4096, not \(4, 0\)"),
        (DeepSets, {"rho": (-1,)}, r"rho must hold widths of 1 and over, up to 4096, not \(-1,\)"),
        (Mlp, {"layers": (4, 0)}, r"layers must hold widths of 1 and over, up to 4096, not \(4, 0\)"),
        (InteractionNetwork, {"constituents": 1}, "constituents must be 2 or more for pairs, not 1"),
        (InteractionNetwork, {"effects": ()}, "effects must hold 1 width or more, not none"),
        (InteractionNetwork, {"objects": ()}, "objects must hold 1 width or more, not none"),
        (
            InteractionNetwork,
            {"classifier": (0,)},
            r"classifier must hold widths of 1 and over, up to 4096, not \(0,\)",
        ),
    ],
)
def test_a_network_that_cannot_be_is_refused(net, settings, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        net(**settings)


@pytest.mark.parametrize(
    ("net", "label"),
    [
        (DeepSets(16, bits=6), "n16_6bit"),
        (InteractionNetwork(8, bits=None), "n8_float"),
        (Mlp(16, features=PARTICLE_NAMES), "n16_f16_8bit"),
        (Mlp(1, features=("mass",)), "n1_f1_8bit"),
        (Mlp(1, features=HIGH_LEVEL), "8bit"),
    ],
)
def test_the_label_names_the_input_and_the_width(net, label):
    assert net.label == label


def test_a_sum_of_edges_is_divided_by_the_power_of_two_that_holds_their_number():
    for constituents, shift in ((2, 0), (3, 1), (8, 3), (9, 3), (16, 4), (17, 4), (18, 5)):
        net = InteractionNetwork(constituents, effects=(2,), objects=(2,), classifier=())
        assert net.build().get_layer("received").shift == shift
        assert 2**shift >= constituents - 1


def test_a_start_that_divides_by_another_power_of_two_is_rescaled_and_is_not_continued():
    net = replace(SMALL["interaction"], bits=None, batch_norm=False)
    model = random_net(net, 2)
    old = keras.models.clone_model(
        model,
        clone_function=lambda one: (
            ReceivedSum(name=one.name) if isinstance(one, ReceivedSum) else type(one).from_config(one.get_config())
        ),
    )
    old.set_weights(model.get_weights())
    x = np.random.default_rng(1).normal(size=(60, 4, 3)).astype(np.float32)
    copy = net.build()
    start = rescaled(old, net.build(), x, (100.0, 100.0), WeightRange.FITTED)
    assign(copy, start)
    np.testing.assert_allclose(np.asarray(copy(x)) * start.scale, np.asarray(old(x)), rtol=1e-3, atol=1e-3)
