"""Stages tabulate and narrow: dense layers become tables of the same function, and tables read fewer bits."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from compress_tasks import FIELDS, NETS, model_of, task_of
from every_target import assert_equal
from test_table_dense import SMALL, integers_of, random_model, tables_of

from edgephys.applications.jets.networks.deepsets import DeepSets
from edgephys.compress.model_structure import kernel_layers
from edgephys.compress.pipeline_file import read
from edgephys.compress.stages.narrow import Narrow, curvatures, functions, luts_of, merged_entries
from edgephys.compress.stages.shrink import Shrink
from edgephys.compress.stages.tabulate import Tabulate
from edgephys.core.errors import ModelError, UsageError
from edgephys.graph import evaluate
from edgephys.graph.passes import lowered
from edgephys.models.files.keras import lower
from edgephys.networks.backend import keras, predict
from edgephys.networks.table_dense import TableDense
from edgephys.networks.widths import rounding

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "models/samples/jets.h5"
NET = DeepSets(constituents=4, phi=(6, 5), rho=(4,), bits=6)


def assert_exact(model, net):
    """Compare the golden model of a network with Keras, and return its Graph."""
    graph = lowered(lower(model, net.input, "tables"))
    x = integers_of(graph)
    seen = predict(model, net.input.values(x).astype(np.float32), 200)
    np.testing.assert_array_equal(evaluate.run(graph, x), seen.astype(np.float64) * 2.0**graph.output.fixed.fraction)
    return graph


# tabulate ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(NETS))
def test_the_first_tables_are_the_products_of_the_layer_that_they_replace(name):
    model, task = model_of(NETS[name]), task_of(NETS[name])
    stage = Tabulate(table_fraction=12, input_bits=8, knots=64)
    last = stage.chosen(model)[-1]
    fresh = stage.tabulated(model, task, [last])
    outputs, others = (predict(of, task.train[0], 256) for of in (model, fresh))
    assert type(fresh.get_layer(last.name)) is TableDense and np.abs(outputs).max() > 0.5
    np.testing.assert_allclose(others, outputs, atol=0.02)


def test_all_layers_are_replaced_without_names_and_those_that_are_named_with_them():
    model, task = model_of(NET), task_of(NET)
    dense = [layer.name for layer in kernel_layers(model)]
    every = Tabulate().tabulated(model, task, Tabulate().chosen(model))
    assert [layer.name for layer in tables_of(every)] == dense
    some = Tabulate(layers=(dense[1], dense[-1]))
    hybrid = some.tabulated(model, task, some.chosen(model))
    assert [layer.name for layer in tables_of(hybrid)] == [dense[1], dense[-1]]
    assert [layer.name for layer in kernel_layers(hybrid)] == [dense[0], *dense[2:-1]]


def test_an_input_that_is_wide_is_rounded_and_a_narrow_one_is_read_as_it_is():
    model, task = model_of(NET), task_of(NET)
    stage = Tabulate(input_bits=6)
    fresh = stage.tabulated(model, task, stage.chosen(model))
    first, second, *_ = tables_of(fresh)
    assert first.reads.bits == 6 and first.reads.signed and fresh.get_layer(f"{first.name}_read") is not None
    assert str(second.reads) == "ufixed<6,0>" and f"{second.name}_read" not in [layer.name for layer in fresh.layers]
    assert_exact(fresh, NET)


def test_a_weight_that_is_zero_is_a_pruned_edge_and_a_unit_without_weights_has_its_bias():
    model, task = model_of(NET), task_of(NET)
    layer = kernel_layers(model)[-1]
    kernel, bias = layer.get_weights()
    kernel[1, :] = kernel[:, 2] = 0
    bias[2] = 0.5
    layer.set_weights([kernel, bias])
    fresh = Tabulate(layers=(layer.name,)).tabulated(model, task, [layer])
    (table,) = tables_of(fresh)
    mask = np.asarray(table.mask)
    assert not mask[1].any() and not mask[1:, 2].any()
    assert (predict(fresh, task.train[0], 256)[:, 2] == 0.5).all()


def test_the_network_itself_is_the_teacher():
    task, model = task_of(NET), model_of(NET)
    taught = task.taught_by(model, 2.0, 0.7)
    np.testing.assert_array_equal(taught.distillation.outputs, predict(model, task.train[0], 256))
    assert (taught.distillation.temperature, taught.distillation.share) == (2.0, 0.7)


@pytest.mark.slow
def test_a_tabulated_network_learns_and_is_exact_in_rtl_and_c(tmp_path):
    task, model = task_of(NET, jets=2048), model_of(NET)
    stage = Tabulate(epochs=8, batch=128, learning_rate=5e-3, input_bits=4, table_fraction=5)
    result = stage.apply(model, task, 1)
    assert result.notes["validation_accuracy"] >= result.notes["before_training"]
    assert set(result.notes["edges"]) == {layer.name for layer in kernel_layers(model)}
    graph = assert_exact(result.model, NET)
    for target in ("rtl", "c"):
        (tmp_path / target).mkdir()
        assert_equal(target, graph, integers_of, tmp_path / target)


@pytest.mark.slow
def test_a_hybrid_of_kernels_and_tables_is_exact_after_stages_for_kernels():
    from edgephys.compress.stages.frugal import Frugal

    task, model = task_of(NET), model_of(NET)
    last = kernel_layers(model)[-1].name
    hybrid = Tabulate(epochs=1, batch=64, layers=(last,)).apply(model, task, 1).model
    for stage in (Shrink(), Frugal(epochs=1, batch=64)):
        hybrid = stage.apply(hybrid, task, 1).model
        assert_exact(hybrid, NET)
        assert [layer.name for layer in tables_of(hybrid)] == [last]


def test_shrink_leaves_what_tables_read_and_the_outputs_as_they_were():
    net = DeepSets(constituents=4, phi=(5, 5), rho=(5,), bits=6)  # as many units as inputs: no width tells them apart
    model, task = model_of(net), task_of(net)
    layers = kernel_layers(model)
    stage = Tabulate(layers=(layers[1].name,))
    hybrid = stage.tabulated(model, task, stage.chosen(model))
    kernel, *bias = hybrid.get_layer(layers[2].name).get_weights()
    kernel[:3] = 0
    hybrid.get_layer(layers[2].name).set_weights([kernel, *bias])
    smaller = Shrink().apply(hybrid, task, 1).model
    x = task.train[0]
    np.testing.assert_array_equal(predict(smaller, x, 256), predict(hybrid, x, 256))


@pytest.mark.parametrize(
    ("net", "layers", "error", "why"),
    [
        ("wave full", (), ModelError, "tabulate takes a network with quantised dense layers, and it has none"),
        ("mlp", ("nowhere",), UsageError, "layers: 'nowhere' must be one of the dense layers"),
    ],
)
def test_what_has_no_such_dense_layer_is_refused(net, layers, error, why):
    with pytest.raises(error, match=why):
        Tabulate(layers=layers).chosen(model_of((NETS | FIELDS)[net]))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Tabulate(input_bits=9), "input_bits must be 2 or more and at most 8, not 9"),
        (lambda: Tabulate(table_fraction=0), "table_fraction must be 1 or more and at most 12, not 0"),
        (lambda: Tabulate(knots=1), "knots must be 2 or more and at most 256, not 1"),
        (lambda: Narrow(lut_cost=2.0), "lut_cost must be 0 or more and at most 1, not 2"),
        (lambda: Narrow(input_bits=0), "input_bits must be 1 or more and at most 8, not 0"),
    ],
)
def test_parameters_without_a_table_are_refused(make, why):
    with pytest.raises(UsageError, match=why):
        make()


# narrow -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    return random_model(SMALL, 7), task_of(SMALL)


def test_merged_entries_are_weighted_means_of_their_neighbours():
    entries = np.array([1.0, 3, 5, 7]).reshape(1, 4, 1)
    weights = np.array([1.0, 3, 0, 0]).reshape(1, 4, 1)
    level = np.array([[1]])
    np.testing.assert_array_equal(merged_entries(entries, weights, level).ravel(), [2.5, 2.5, 6, 6])
    np.testing.assert_array_equal(merged_entries(entries, weights, 2 * level).ravel(), [2.5] * 4)
    np.testing.assert_array_equal(merged_entries(entries, weights, 0 * level), entries)


def test_the_curvature_of_an_entry_is_that_of_the_loss_by_the_sums_that_read_it(network):
    from edgephys.networks.backend import tf

    model, task = network
    layer = tables_of(model)[-1]  # nothing follows: the gradient is that of the loss by the logits
    own = curvatures(model, task, [layer])[layer.name]
    logits = predict(model, task.train[0], 256)
    gradients = np.asarray(tf.nn.softmax(logits)) - np.eye(logits.shape[1])[task.train[1]]
    inputs = keras.Model(model.input, model.layers[-2].output)(task.train[0])
    places = np.rint(np.asarray(inputs) * 2.0**layer.reads.fraction).astype(int) - layer.reads.low
    expected = np.zeros(own.shape)
    for example, channel in np.ndindex(places.shape):
        expected[channel, places[example, channel]] += gradients[example] ** 2 / len(places)
    np.testing.assert_allclose(own, expected, rtol=1e-3, atol=1e-9)


def test_a_higher_price_narrows_more_and_a_pruned_edge_costs_nothing(network):
    model, task = network
    layer = tables_of(model)[0]
    fisher = curvatures(model, task, [layer])[layer.name]
    levels = [Narrow(lut_cost=price).levels(layer, fisher) for price in (0, 1e-3, 1e-2)]
    levels.append(Narrow(lut_cost=1).levels(layer, 1e-6 * fisher))  # the entries hardly matter
    assert all((one <= other).all() for one, other in pairwise(levels))
    left = np.asarray(layer.mask) > 0
    assert not levels[0][left].any() and (levels[-1][left] == layer.reads.bits - 1).all()
    assert not luts_of(layer, levels[0])[~left].any() and (luts_of(layer, levels[0])[left] > 0).all()


def test_no_edge_reads_more_bits_than_stated(network):
    model, task = network
    layer = tables_of(model)[0]
    fisher = curvatures(model, task, [layer])[layer.name]
    assert layer.reads.bits - Narrow(lut_cost=0, input_bits=3).levels(layer, fisher).min() == 3


@pytest.mark.parametrize(("bits", "luts"), [(4, 0.4), (5, 0.5), (6, 1), (7, 2), (8, 4)])
def test_a_bit_of_a_table_of_six_inputs_is_a_lut_and_twice_as_many_with_each_input(bits, luts):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((2,))
    layer = TableDense(1, f"fixed<{bits},1>", 4, name="table")
    layer(inputs)
    layer.function.assign(np.broadcast_to(np.linspace(-1, 1, layer.knots)[None, :, None], layer.function.shape))
    span = int(np.ptp(layer.tables()[0, :, 0]))
    np.testing.assert_allclose(luts_of(layer, np.zeros((2, 1), int)), luts * np.ceil(np.log2(span + 1)))


def test_without_a_price_the_tables_are_those_of_the_model(network):
    from edgephys.compress.stages.narrow import _with_entries

    model, task = network
    chosen = tables_of(model)
    fresh = _with_entries(model, task, chosen, {layer.name: functions(layer) for layer in chosen})
    assert all(own.knots == own.entries and own.normalise for own in tables_of(fresh))
    for layer in chosen[:1]:  # the shares of a shift may be others, not the sums
        sums = [keras.Model(of.input, of.get_layer(layer.name).output)(task.train[0]) for of in (model, fresh)]
        np.testing.assert_allclose(*map(np.asarray, sums), atol=2.0**-layer.fraction * (layer.function.shape[0] + 3))


def test_merged_entries_stay_equal_and_the_model_exact(network):
    model, task = network
    stage = Narrow(epochs=2, batch=64, lut_cost=3e-2)
    before = [weight.copy() for weight in model.get_weights()]
    result, again = (stage.apply(model, task, 1) for _ in range(2))
    assert all(map(np.array_equal, before, model.get_weights()))
    assert all(map(np.array_equal, result.model.get_weights(), again.model.get_weights()))
    assert result.notes["luts_of_tables"]["after"] < result.notes["luts_of_tables"]["before"]
    chosen = tables_of(model)
    fisher = curvatures(model, task, chosen)
    merged = 0
    for layer, own in zip(chosen, tables_of(result.model), strict=True):
        levels, tables = stage.levels(layer, fisher[layer.name]), own.tables()
        for (channel, unit), level in np.ndenumerate(levels):
            groups = tables[channel, :, unit].reshape(-1, 1 << level)
            assert (groups == groups[:, :1]).all()
        merged += int((levels > 0).sum())
    assert merged > 5
    assert_exact(result.model, SMALL)


@pytest.mark.slow
def test_synthesis_finds_that_an_edge_with_merged_entries_reads_fewer_bits(tmp_path):
    """Random tables of seven bits, all of them or with four neighbours merged; alkaid's estimate sees no difference."""
    from edgephys.targets.registry import TARGETS
    from edgephys.targets.rtl.gate_level import synthesised

    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    layer = TableDense(3, "fixed<7,1>", 4, 128, normalise=False, name="table")
    model = keras.Model(inputs, layer(rounding(7, 0, "read")(inputs)))
    random, luts = np.random.default_rng(1), []
    entries = random.normal(size=layer.function.shape)
    for level in (0, 2):
        merged = merged_entries(entries, np.ones_like(entries), np.full((3, 3), level))
        layer.function.assign(merged / merged.std())
        graph, folder = lowered(lower(model, NET.input, "tables")), tmp_path / str(level)
        folder.mkdir()
        target = TARGETS["rtl"]
        luts.append(synthesised(folder, target.emit(graph, folder, target.options()), "xcup").cells.lut)
    assert luts[1] < 0.8 * luts[0], luts  # the adders of the sums stay


def test_a_network_without_tables_has_nothing_to_narrow():
    model = model_of(NETS["mlp"])
    with pytest.raises(ModelError, match="narrow takes a network with TableDense layers; put tabulate before it"):
        Narrow().apply(model, task_of(NETS["mlp"]), 1)
    with pytest.raises(UsageError, match="layers: 'nowhere' must be one of the layers of tables phi_1, phi_2"):
        Narrow(layers=("nowhere",)).chosen(random_model(SMALL, 1))


# The pipelines that ship ------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_shipped_pipelines_tabulate_prune_and_narrow_a_small_network(run, tmp_path):
    few = ["--set", "epochs=2", "--set", "phi=6", "--set", "rho=5", "--set", "constituents=4", "--set", "bits=6"]
    done = run("train", ROOT / "models/jet_deepsets.py", "--data", SAMPLE, *few, "--out", tmp_path / "start")
    assert done.status == 0, done.err
    folder = tmp_path / "start"
    for name in ("tabulate", "narrow"):
        text = (ROOT / "compress" / f"{name}.toml").read_text()
        assert read(ROOT / "compress" / f"{name}.toml").stages
        for epochs in (20, 30):
            text = text.replace(f"epochs = {epochs}", "epochs = 2")
        (tmp_path / f"{name}.toml").write_text(text)
        out = tmp_path / name
        done = run("compress", folder, tmp_path / f"{name}.toml", "--data", SAMPLE, "--out", out, "--json")
        assert done.status == 0, done.err
        folder = out / "model"
    for target in ("rtl", "c"):
        assert run("emit", folder, "--to", target, "--vectors", "200", "--out", tmp_path / target).status == 0
        assert run("verify", tmp_path / target).status == 0


OWN = '''"""Tables for arrays of one's own."""
import keras

from edgephys.networks.table_dense import TableDense
from edgephys.networks.widths import rounding


def model():
    inputs = keras.Input((4,))
    x = TableDense(5, "fixed<6,1>", 5, name="hidden")(rounding(6, 0, "read")(inputs))
    x = rounding(5, 0, "hidden_read")(x)
    return keras.Model(inputs, TableDense(3, "fixed<5,1>", 5, normalise=False, name="logits")(x))
'''


@pytest.mark.slow
def test_tables_of_a_users_own_script_are_pruned_narrowed_and_drawn(run, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    x = np.random.default_rng(0).normal(0, 0.5, (600, 4))
    np.savez(tmp_path / "own.npz", x=x, y=(np.abs(x[:, 0]) + x[:, 1] > 0.5).astype(int) + (x[:, 2] > 0.6))
    (tmp_path / "own.toml").write_text(
        '[[stage]]\nkind = "prune_edges"\nepochs = 1\n[[stage]]\nkind = "narrow"\nepochs = 1\n'
    )
    data, folder, out = ("--data", tmp_path / "own.npz"), tmp_path / "own", tmp_path / "small"
    for words in (
        ("train", tmp_path / "own.py", *data, "--set", "epochs=1", "--out", folder),
        ("compress", folder, tmp_path / "own.toml", *data, "--out", out),
        ("draw", out / "model", "--out", tmp_path / "edges.svg"),
        ("emit", out / "model", "--to", "c", "--out", tmp_path / "c"),
        ("verify", tmp_path / "c"),
    ):
        ended = run(*words)
        assert ended.status == 0, ended.err
