"""Layers of learnt tables: exact on every target, their gradient, their pruning, and what they refuse."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compress_tasks import task_of
from every_target import FIRMWARE, PROCESSORS, assert_equal
from hypothesis import given, settings
from hypothesis import strategies as st

from edgephys.applications.jets.networks.table_deepsets import TableDeepSets
from edgephys.compress.gains import measure
from edgephys.compress.stages.prune_edges import PruneEdges, thin
from edgephys.core.errors import ModelError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.models.files.keras import lowered
from edgephys.networks.backend import keras, predict
from edgephys.networks.table_dense import TableDense

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "models/samples/jets.h5"
SMALL = TableDeepSets(constituents=4, phi=(5, 4), rho=(4,), bits=4, first_bits=5, pool_bits=4, table_fraction=4)


def random_model(net, seed):
    """Return a net's model with random functions, normalisations and a tenth of its edges pruned."""
    keras.utils.set_random_seed(seed)
    model, random = net.build(), np.random.default_rng(seed)
    for layer in tables_of(model):
        layer.function.assign(random.normal(size=layer.function.shape))
        layer.mask.assign(random.random(layer.mask.shape) > 0.1)
        if layer.normalise:
            for variable, low, high in ((layer.gain, 0.2, 1), (layer.shift, -0.5, 0.5), (layer.mean, -1, 1)):
                variable.assign(random.uniform(low, high, variable.shape))
            layer.variance.assign(random.uniform(0.5, 4, layer.variance.shape))
    return model


def tables_of(model):
    return [layer for layer in model.layers if isinstance(layer, TableDense)]


def integers_of(graph, count=200, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(graph.input.fixed.low, graph.input.fixed.high + 1, (count, *graph.input.shape))


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**31),
    constituents=st.integers(1, 5),
    bits=st.integers(2, 6),
    first_bits=st.integers(2, 8),
    pool_bits=st.integers(2, 7),
    fraction=st.integers(1, 8),
    knots=st.integers(2, 14),
)
def test_a_network_of_tables_computes_the_integers_of_its_graph(
    seed, constituents, bits, first_bits, pool_bits, fraction, knots
):
    net = TableDeepSets(
        constituents,
        phi=(4,),
        rho=(3,),
        bits=bits,
        first_bits=first_bits,
        pool_bits=pool_bits,
        table_fraction=fraction,
        knots=knots,
    )
    model = random_model(net, seed)
    graph = lowered(model, net.input, "tables").graph
    x = integers_of(graph, 100, seed)
    seen = predict(model, net.input.values(x).astype(np.float32), 100)
    np.testing.assert_array_equal(evaluate.run(graph, x), seen.astype(np.float64) * 2.0**graph.output.fixed.fraction)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "options"), [*PROCESSORS[:4], *FIRMWARE])
def test_a_network_of_tables_is_exact_on_each_target(target, options, tmp_path):
    graph = lowered(random_model(SMALL, 3), SMALL.input, "tables").graph
    assert_equal(target, graph, integers_of, tmp_path, **options)


def test_a_layer_of_tables_adds_up_the_entries_of_its_inputs():
    layer = TableDense(3, "fixed<3,1>", 4, normalise=False, name="sums")
    x = np.array([[-1.0, 0.75], [0.0, -0.25], [0.5, 0.5]], np.float32)
    y, tables = np.asarray(layer(x)), layer.tables() / 16
    places = (x * 4 + 4).astype(int)
    expected = [[sum(tables[i, row[i], o] for i in range(2)) for o in range(3)] for row in places]
    np.testing.assert_array_equal(y, expected)


def test_the_gradient_of_an_input_is_the_mean_slope_to_both_neighbours():
    from edgephys.networks.backend import tf

    layer = TableDense(1, "fixed<3,1>", 6, normalise=False)
    layer.build((None, 1))
    table = layer.tables()[0, :, 0] / 64
    x = tf.constant([[-0.5], [0.25]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    slopes = [(table[3] - table[1]) / 0.5, (table[6] - table[4]) / 0.5]
    np.testing.assert_allclose(np.asarray(tape.gradient(y, x))[:, 0], slopes, rtol=1e-5)


def test_normalised_sums_have_the_stated_mean_and_deviation_in_training():
    layer = TableDense(4, "fixed<6,2>", 12)
    x = np.random.default_rng(0).integers(-32, 32, (4000, 3)).astype(np.float32) / 16
    y = np.asarray(layer(x, training=True))
    np.testing.assert_allclose(y.mean(0), 0, atol=0.01)
    np.testing.assert_allclose(y.std(0), 0.5, atol=0.02)


def test_a_network_of_tables_is_the_same_after_it_was_written_and_read(tmp_path):
    model = random_model(SMALL, 5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = SMALL.input.values(integers_of(lowered(model, SMALL.input, "tables").graph)).astype(np.float32)
    np.testing.assert_array_equal(predict(again, x, 200), predict(model, x, 200))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_stated_share_of_edges_is_left_and_those_whose_tables_vary_most(share):
    model = replace(SMALL, table_fraction=8).build()  # so fine that no table is 0
    layers = tables_of(model)
    sizes = np.concatenate([(of / np.sqrt((of**2).mean())).ravel() for of in (at.deviations() for at in layers)])
    thin(layers, share)
    left = np.concatenate([np.asarray(layer.mask).ravel() for layer in layers]) > 0
    assert left.sum() == round(share * left.size) and sizes[left].min() >= sizes[~left].max(initial=0)
    for layer in layers:
        assert not layer.tables().transpose(0, 2, 1)[np.asarray(layer.mask) == 0].any()


@pytest.mark.slow
def test_pruning_keeps_the_share_of_edges_and_the_model_exact():
    model, task = random_model(SMALL, 7), task_of(SMALL)
    made = PruneEdges(epochs=3, batch=64, edges=0.4).apply(model, task, 1)
    every = sum(layer.mask.shape[0] * layer.mask.shape[1] for layer in tables_of(model))
    assert sum(made.notes["edges"].values()) == round(0.4 * every) and made.notes["kept_epoch"] >= 2
    graph = lowered(made.model, SMALL.input, "tables").graph
    x = integers_of(graph)
    seen = predict(made.model, SMALL.input.values(x).astype(np.float32), 200)
    np.testing.assert_array_equal(evaluate.run(graph, x), seen.astype(np.float64) * 2.0**graph.output.fixed.fraction)


def test_pruning_leaves_the_given_model_and_one_seed_gives_one_model():
    model, task = random_model(SMALL, 8), task_of(SMALL)
    before = [weight.copy() for weight in model.get_weights()]
    first, second = (PruneEdges(epochs=1, batch=64).apply(model, task, 3).model.get_weights() for _ in range(2))
    for former, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(former, now)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_edge_that_was_pruned_stays_so():
    model = random_model(SMALL, 9)
    made = PruneEdges(epochs=1, batch=64, edges=0.8).apply(model, task_of(SMALL), 1).model
    for before, after in zip(tables_of(model), tables_of(made), strict=True):
        assert not (np.asarray(after.mask) > np.asarray(before.mask)).any()


def test_the_gains_of_tables_count_edges_and_no_digits():
    model = random_model(SMALL, 4)
    gains = measure(model, task_of(SMALL), "tables")
    edges = sum(layer.mask.shape[0] * layer.mask.shape[1] for layer in tables_of(model))
    left = sum(int(np.count_nonzero(layer.deviations())) for layer in tables_of(model))
    assert (gains.weights, gains.nonzero, gains.digits, gains.ebops) == (edges, left, 0, 0)
    assert 0 < left < edges and gains.lut_estimate > 0 and gains.adder_bits > 0


@pytest.mark.slow
def test_the_commands_train_prune_and_emit_a_network_of_tables(run, tmp_path):
    few = ["--set", "epochs=2", "--set", "phi=4", "--set", "rho=4", "--set", "constituents=4"]
    done = run("train", ROOT / "models/jet_tables.py", "--data", SAMPLE, *few, "--out", tmp_path / "tables")
    assert done.status == 0, done.err
    (tmp_path / "half.toml").write_text('[[stage]]\nkind = "prune_edges"\nepochs = 2\nedges = 0.5\n')
    out = tmp_path / "half"
    done = run("compress", tmp_path / "tables", tmp_path / "half.toml", "--data", SAMPLE, "--out", out, "--json")
    assert done.status == 0, done.err
    first, last = done.json["rows"]
    assert last["nonzero"] <= first["weights"] / 2 + 1 and last["lut_estimate"] < first["lut_estimate"]
    assert run("emit", out / "model", "--to", "c", "--vectors", "200", "--out", tmp_path / "c").status == 0
    assert run("verify", tmp_path / "c").status == 0


def test_a_network_without_tables_has_no_edges_to_prune():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="plain")
    with pytest.raises(ModelError, match="'plain': prune_edges takes a network with TableDense layers; use prune"):
        PruneEdges().apply(model, task_of(SMALL), 1)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: TableDense(2, "fixed<9,1>", 4, name="t"), "layer 't': a table must read 1..8 bits, not 9"),
        (lambda: TableDense(2, "fixed<4,1>", 4, knots=1, name="t"), "layer 't': knots must be 2..256, not 1"),
        (lambda: TableDeepSets(bits=None), "bits must be 2..8, the width that tables read, not float"),
        (lambda: TableDeepSets(pool_bits=9), "pool_bits must be 2..8, the width that tables read, not 9"),
        (lambda: TableDeepSets(table_fraction=0), "table_fraction must be 1..12, not 0"),
        (lambda: TableDeepSets(batch_norm=True), "batch_norm must be false: tables hold their own normalisation"),
        (lambda: TableDeepSets(phi=()), "phi must hold 1 width or more, not none"),
        (lambda: PruneEdges(edges=0), "edges must be above 0 and at most 1, not 0"),
    ],
)
def test_what_has_no_table_is_refused(make, why):
    with pytest.raises(UsageError, match=why):
        make()


def test_an_input_that_exceeds_the_tables_is_refused():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, TableDense(2, "fixed<4,1>", 4, name="narrow")(inputs))
    with pytest.raises(ModelError, match=r"narrow.*must lie in the table's"):
        lowered(model, Fixed(True, 6, 3), "wide")
