"""Parts of free scales that Keras concatenates or compares are rounded before they are joined, exactly."""

import every_target
import pytest
from keras_models import activation, qconv, qdense
from test_keras_scales import AUTO, equal, refused, rounding, scaled_dense, vectors

from edgephys.core.fixed import Fixed
from edgephys.networks.backend import keras

L = keras.layers


def joined(join, *behind, shape=(4,), parts=None):
    """Return a model whose two branches are joined, with the layers behind the join."""
    x = keras.Input(shape, name="x")
    one, other = parts(x) if parts else (scaled_dense(3, "a")(x), scaled_dense(3, "b")(x))
    flow = join([one, other]) if isinstance(join, L.Layer) else join(one, other)
    for layer in behind:
        flow = layer(flow)
    return keras.Model(x, flow)


def fields(x):
    """Two convolutions of other scales, one with a batch normalisation behind it."""
    one = L.BatchNormalization(name="n")(qconv(2, 2, "a", kernel_quantizer=AUTO)(x))
    return one, qconv(3, 2, "b")(x)


MODELS = {
    "dense": lambda: joined(L.Concatenate(name="cat"), rounding()),
    "with an exact part": lambda: joined(
        L.Concatenate(name="cat"), rounding(), qdense(2, "last"), parts=lambda x: (scaled_dense(3, "a")(x), x)
    ),
    "channels of fields": lambda: joined(
        L.Concatenate(name="cat"), activation("quantized_relu(5,2)", "q"), shape=(4, 4, 2), parts=fields
    ),
    "rows of fields": lambda: joined(
        L.Concatenate(axis=1, name="cat"), rounding(), shape=(4, 4, 2), parts=lambda x: (
            qconv(3, 2, "a", kernel_quantizer=AUTO)(x), qconv(3, 2, "b", kernel_quantizer=AUTO)(x)
        )
    ),
    "a normalisation behind": lambda: joined(
        L.Concatenate(name="cat"), L.BatchNormalization(name="n"), L.Activation("relu"), rounding()
    ),
    "a table behind": lambda: joined(L.Concatenate(name="cat"), activation("quantized_tanh(4)", "q")),
    "of joins": lambda: joined(
        L.Concatenate(name="cat"), rounding(),
        parts=lambda x: (L.Concatenate(name="inner")([scaled_dense(2, "a")(x), x]), scaled_dense(3, "b")(x))
    ),
    "an operation": lambda: joined(lambda x, y: keras.ops.concatenate([x, y], axis=-1), rounding()),
    "maximum": lambda: joined(L.Maximum(name="m"), rounding()),
    "maximum and relu": lambda: joined(
        L.Maximum(name="m"), L.Activation("relu", name="r"), activation("quantized_relu(5,2)", "q")
    ),
    "minimum": lambda: joined(L.Minimum(name="m"), rounding()),
    "an operation of both": lambda: joined(keras.ops.maximum, rounding()),
}  # fmt: skip


def of(name):
    keras.utils.set_random_seed(3)
    return MODELS[name]()


@pytest.mark.parametrize("name", MODELS)
def test_a_join_of_two_scales_is_keras_own_numbers_in_every_layer(name):
    equal(of(name))


@pytest.mark.parametrize("name", ["channels of fields", "maximum"])
def test_c_computes_a_join(name, tmp_path):
    every_target.assert_equal("c", equal(of(name), Fixed(True, 5, 2)).graph, vectors, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["rtl", "hls", "onnx"])
@pytest.mark.parametrize("name", ["dense", "channels of fields", "maximum"])
def test_a_target_computes_a_join(name, target, tmp_path):
    every_target.assert_equal(target, equal(of(name), Fixed(True, 5, 2)).graph, vectors, tmp_path)


def test_a_join_that_nothing_rounds_is_refused_with_its_name():
    cat, largest = L.Concatenate(name="cat"), L.Maximum(name="m")
    refused(joined(cat, qdense(2, "e")), r"layer 'cat': its float result goes to 'e' \(QDense\), .* after 'cat'")
    refused(joined(L.Concatenate(name="cat")), "layer 'cat': the model ends with a float result, .* after 'cat'")
    curve = [activation("quantized_tanh(4)", "q")]
    refused(joined(largest, *curve), "layer 'm': the largest or smallest of float results is exact where quantized_b")
    behind = L.BatchNormalization(name="n"), rounding()
    refused(joined(L.Maximum(name="m"), *behind), "layer 'm': the largest or smallest of float results .* each input")
    broadcast = joined(L.Maximum(name="m"), rounding(), parts=lambda x: (scaled_dense(3, "a")(x), qdense(1, "b")(x)))
    refused(broadcast, r"layer 'a': its float result goes to 'm' \(Maximum\)")


def test_a_batch_axis_is_no_axis_of_a_join():
    refused(joined(L.Concatenate(axis=0, name="cat"), rounding()), "layer 'cat': axis must not be the batch")


def test_only_the_rounded_parts_stay_in_the_graph():
    graph = equal(of("dense")).graph
    (join,) = [node for node in graph.nodes if node.op.word == "concat"]
    assert {graph.by_name[name].op.word for name in join.inputs} <= {"requantise", "scale", "bias"}
    assert join.shape == (6,)
