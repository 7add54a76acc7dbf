"""`edgephys draw`: the tables of a Graph, the share of decisions of each edge, pictures, and forms of tables."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_table_dense import SMALL, integers_of, random_model, tables_of

from edgephys.applications.jets.networks.table_deepsets import TableDeepSets
from edgephys.core.errors import UsageError
from edgephys.graph import evaluate
from edgephys.graph.edge_shares import decision_shares
from edgephys.graph.table_layers import reads_the_input, table_layers
from edgephys.models.files.keras import lowered
from edgephys.models.standardise import Standardisation
from edgephys.networks.backend import predict
from edgephys.report import edges_picture
from edgephys.report.edges_picture import DrawnLayer, InputAxis, axes_of, require_picture
from edgephys.report.table_forms import NAMES, form_of

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "models/samples/jets.h5"
JETS = ROOT / "models/zoo/jet_deepsets_n8_8bit"


@pytest.fixture(scope="module")
def network():
    """A network of tables, its Graph, and the layers that are read from the Graph."""
    model = random_model(SMALL, 3)
    graph = lowered(model, SMALL.input, "tables").graph
    return model, graph, table_layers(graph)


# The Graph --------------------------------------------------------------------------------------------


def test_the_layers_of_a_graph_are_those_of_the_network_with_their_tables(network):
    model, graph, layers = network
    assert [layer.name for layer in layers] == [layer.name for layer in tables_of(model)]
    for layer, own in zip(layers, tables_of(model), strict=True):
        np.testing.assert_array_equal(layer.tables, own.tables())
        np.testing.assert_array_equal(layer.pruned, np.asarray(own.mask) == 0)
    assert [reads_the_input(graph, layer) for layer in layers] == [True, False, False, False]


def test_every_value_that_an_input_has_is_among_those_that_it_can_have(network):
    _, graph, layers = network
    edges = evaluate.trace(graph, {graph.input.name: integers_of(graph)})
    for layer in layers:
        values = edges[layer.source.name].reshape(-1, layer.shape[0])
        assert (values.min(0) >= layer.low).all() and (values.max(0) <= layer.high).all()


def test_a_network_without_tables_has_no_layers_of_them(model):
    from edgephys.models.frameworks import load

    assert table_layers(load(model).graph) == []


def test_what_follows_a_changed_edge_is_computed_again_and_nothing_else(network):
    _, graph, layers = network
    one, other = (evaluate.trace(graph, {graph.input.name: integers_of(graph, seed=seed)}) for seed in (0, 1))
    name = layers[1].sums.name
    continued = evaluate.continued(graph, one, {name: other[name]})
    np.testing.assert_array_equal(continued[graph.output.name], other[graph.output.name])
    assert continued[layers[0].sums.name] is one[layers[0].sums.name]


def test_the_share_of_an_edge_is_that_of_the_decisions_which_its_mean_changes_in_keras():
    model = random_model(dataclasses.replace(SMALL, phi=(3,), rho=()), 5)
    graph = lowered(model, SMALL.input, "tables").graph
    x = integers_of(graph, 300)
    before, layers = evaluate.run(graph, x).argmax(1), table_layers(graph)
    shares = decision_shares(graph, layers, x)
    last = tables_of(model)[-1]
    values = evaluate.trace(graph, {graph.input.name: x})[layers[-1].source.name]
    step, tables = 2.0**-last.fraction, last.tables()
    logits = predict(model, SMALL.input.values(x).astype(np.float32), 300) / step
    for (channel, neuron), share in np.ndenumerate(shares[-1]):
        entries = tables[channel, values[:, channel] - last.reads.low, neuron]
        others = logits.copy()
        others[:, neuron] += np.rint(entries.mean()) - entries
        assert share == pytest.approx(np.mean(others.argmax(1) != before))
    assert max(of.max() for of in shares) > 0.05


def test_an_edge_whose_table_is_constant_carries_no_decision(network):
    _, graph, layers = network
    shares = decision_shares(graph, layers, integers_of(graph))
    for layer, share in zip(layers, shares, strict=True):
        assert not share[layer.pruned].any() and (share >= 0).all() and (share <= 1).all()


# Pictures ---------------------------------------------------------------------------------------------


def drawing_of(layer, seed=0):
    shares = np.random.default_rng(seed).uniform(0, 0.2, layer.shape)
    axes = axes_of(layer, [f"input{channel}" for channel in range(layer.shape[0])], None)
    return DrawnLayer(layer, shares, axes, tuple(map(str, range(layer.shape[1]))))


def curves_of(figure):
    return [list(axes.collections[2].get_paths()) for axes in figure.axes]


def test_each_edge_that_is_not_pruned_is_one_curve_and_a_pruned_one_is_blank(network):
    _, _, layers = network
    figure = edges_picture.figure([drawing_of(layer) for layer in layers], "tables", "a caption")
    for curves, layer in zip(curves_of(figure), layers, strict=True):
        assert len(curves) == (~layer.pruned).sum()
    assert any(layer.pruned.any() for layer in layers)


def test_a_curve_passes_through_the_entries_of_its_table(network):
    _, _, layers = network
    layer = layers[0]
    drawing = drawing_of(layer)
    (curves,) = curves_of(edges_picture.figure([drawing], "tables", ""))
    assert layer.shape == (3, 5)  # more neurons than inputs: a row an input
    for (channel, neuron), curve in zip(drawing.edges, curves, strict=True):
        entries = layer.entries(channel)[:, neuron] / np.abs(layer.tables[..., neuron]).max()
        heights = (channel + 0.5 - curve.vertices[:, 1]) / (0.5 - edges_picture.MARGIN)
        assert np.allclose([heights.min(), heights.max()], [entries.min(), entries.max()])
        assert heights[0] == pytest.approx(entries[0]) and heights[-1] == pytest.approx(entries[-1])
        assert (np.floor(curve.vertices[:, 0]) == neuron).all()


def test_of_a_large_layer_the_edges_that_carry_most_are_drawn_and_the_rest_is_counted(network):
    from edgephys.report.edges import caption, layer_rows

    _, _, layers = network
    layer = dataclasses.replace(
        layers[1],
        tables=np.tile(layers[1].tables[:1, :, :1], (40, 1, 20)) + 1,
        low=np.repeat(layers[1].low[:1], 40),
        high=np.repeat(layers[1].high[:1], 40),
    )
    drawing = drawing_of(layer)
    (curves,) = curves_of(edges_picture.figure([drawing], "tables", ""))
    assert len(curves) == len(drawing.edges) == 512 and drawing.left_out == 288
    least = min(drawing.shares[edge] for edge in drawing.edges)
    assert np.sum(drawing.shares > least) == 511
    assert "not drawn, for they carry less: 288 of" in caption([drawing], 100)
    (row,) = layer_rows([drawing])
    assert (row["edges"], row["drawn"]) == (800, 512) and row["largest_share"] == drawing.shares.max()


def test_the_axis_of_a_feature_is_in_the_units_of_the_raw_feature(network):
    from edgephys.models.standardise import fit

    _, _, layers = network
    features = np.random.default_rng(0).normal([[[1000, 0.1, -0.2]]], [[[100, 0.5, 0.3]]], (500, 4, 3))
    ready: Standardisation = fit(features, ("pt", "etarel", "phirel"), SMALL.input)
    axes = axes_of(layers[0], ready.names, ready)
    values = np.stack([axis.values for axis in axes], -1)  # the ends of the ranges are alike
    again = SMALL.input.values(ready.apply(values[:, None]))[:, 0]
    step = layers[0].source.fixed.step
    expected = np.stack([layers[0].values(channel) * step for channel in range(3)], -1)
    np.testing.assert_allclose(again, expected, atol=0.02)  # the raw features lie on a grid


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture_is_the_same_each_time_and_is_known_as_ours(network, suffix, tmp_path):
    drawing = [drawing_of(layer) for layer in network[2][:1]]
    first, second = (edges_picture.drawn(drawing, "tables", "caption", suffix) for _ in range(2))
    assert first == second
    path = tmp_path / f"edges{suffix}"
    path.write_bytes(first)
    require_picture(path)
    path.write_bytes(first.replace(edges_picture.MAKER.encode(), b"somebody else"))
    with pytest.raises(UsageError, match="exists and is no picture of ours: it is not replaced; choose another --out"):
        require_picture(path)


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"--out must end in .png or .svg, not 'edges.pdf'; or add --forms"):
        require_picture(tmp_path / "edges.pdf")


def test_the_span_of_an_axis_is_its_first_and_last_value():
    assert InputAxis("pt", np.array([1.0, 2.5, 1234.56])).span == "1 … 1235"


# Forms ------------------------------------------------------------------------------------------------

STEP = 1 / 32
COEFFICIENTS = st.floats(0.3, 2) | st.floats(-2, -0.3)


FORMULAS = {
    "constant": lambda x, a: np.full_like(x, a),
    "linear": lambda x, a, b: a + b * x,
    "step": lambda x, a, b, c: a + b * (x > c),
    "relu": lambda x, a, b, c: a + b * np.maximum(x - c, 0),
    "falling relu": lambda x, a, b, c: a + b * np.maximum(c - x, 0),
    "absolute": lambda x, a, b, c: a + b * np.abs(x - c),
    "quadratic": lambda x, a, b, c: a + b * x + c * x**2,
    "logarithm": lambda x, a, b, c: a + b * np.log(x - c),
    "cubic": lambda x, a, b, c, d: a + b * x + c * x**2 + d * x**3,
}


@st.composite
def tables_of_forms(draw):
    """A form's name, the values of an input, and the table that the form is when it is rounded."""
    name = draw(st.sampled_from(NAMES))
    bits = draw(st.integers(4, 7))
    x = np.arange(-(1 << (bits - 1)), 1 << (bits - 1)) * 2.0 ** (2 - bits)  # from -2 to 2
    a, b, c = draw(st.floats(-1, 1)), draw(COEFFICIENTS), draw(st.floats(-1.5, 1.5))
    if name == "logarithm":
        c = -2.1 - abs(c)
    coefficients = {"constant": (a,), "linear": (a, b), "cubic": (a, c, 1 - abs(a), b)}.get(name, (a, b, c))
    return name, x, np.rint(FORMULAS[name](x, *coefficients) / STEP).astype(int)


@settings(max_examples=60)
@given(tables_of_forms())
def test_a_table_that_a_form_makes_is_recognised_and_the_stated_error_is_that_of_the_form(drawn):
    name, x, table = drawn
    form = form_of(x, table, STEP)
    assert form is not None and (NAMES.index(form.name) <= NAMES.index(name) or form.error <= 0.6)
    computed = FORMULAS[form.name](x, *form.coefficients) / STEP
    assert form.error == pytest.approx(np.abs(computed - table).max()) and form.error <= 1
    assert form.exact == np.array_equal(np.rint(computed), table)


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(4, 6), st.integers(3, 60))
def test_a_random_table_is_no_form(seed, bits, largest):
    x = np.arange(1 << bits) / 8
    assert form_of(x, np.random.default_rng(seed).integers(-largest, largest + 1, len(x)), STEP) is None


def test_the_simplest_form_is_named_with_its_error_and_whether_it_is_exact():
    x = np.arange(-16, 16) / 8
    line = form_of(x, np.rint((0.5 + 0.25 * x) / STEP).astype(int), STEP)
    assert (line.name, line.exact) == ("linear", True) and line.error <= 0.5
    np.testing.assert_allclose(line.coefficients, (0.5, 0.25), atol=STEP / 2)
    kink = form_of(x, np.rint(np.abs(x - 0.5) / STEP).astype(int), STEP)
    assert kink.name == "absolute" and kink.expression == "0 + 1·|x - 0.5|"
    assert form_of(x, np.full(32, 3), STEP).expression == "0.09375"
    assert form_of(x, (np.arange(32) > 9) * 5, STEP).expression == "0 + 0.1562·[x > -0.8125]"


def test_a_form_has_at_most_half_as_many_parameters_as_the_table_has_entries():
    x, table = np.arange(4) / 4, np.array([0, 30, -20, 7])  # any cubic passes through four points
    assert form_of(x, table, STEP) is None
    assert form_of(x, np.array([0, 10, 20, 30]), STEP).name == "linear"


def test_the_limit_of_the_error_is_the_callers():
    x, table = np.arange(-16, 16) / 8, np.arange(32) % 2 * 2  # one step around a constant
    assert form_of(x, table, STEP).error == pytest.approx(1)
    assert form_of(x, table, STEP, within=0.9) is None


# The command ------------------------------------------------------------------------------------------


def test_a_network_without_tables_is_refused_with_what_draws_it(run, model, tmp_path):
    ended = run("draw", model, "--out", tmp_path / "edges.png")
    assert ended.status == 1 and not list(tmp_path.iterdir())
    assert (
        "draw shows networks of learnt tables (TableDense, as models/jet_tables.py trains them), and it has none"
        in (ended.err)
    )
    assert "`edgephys explain MODEL --svg FILE` draws the layers of any network" in ended.err


def test_draw_refuses_a_place_before_it_loads_the_model(run, model, tmp_path):
    (tmp_path / "mine.svg").write_text("<svg/>")
    for name, why in (("mine.svg", "exists and is no picture of ours"), ("mine.pdf", "--out must end in .png or .svg")):
        ended = run("draw", model, "--out", tmp_path / name)
        assert ended.status == 2 and why in ended.err and "load" not in ended.err


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The folder of a network of tables with random functions, as training writes it."""
    from compress_tasks import task_of
    from small_model import save_small

    from edgephys.models.trained import load, save

    net = TableDeepSets(constituents=4, phi=(4,), rho=(3,), bits=4, first_bits=4, pool_bits=4, knots=2)
    folder = save_small(tmp_path_factory.mktemp("tables") / "tables")
    trained = load(folder)
    return save(dataclasses.replace(trained, model=random_model(net, 1), held_out=task_of(net).test), folder, True)


def test_draw_shows_the_layers_and_draws_them(run, tables, tmp_path):
    for name in ("edges.png", "edges.svg", "edges.svg"):  # its own again
        done = run("draw", tables, "--out", tmp_path / name, "--vectors", "50", "--json")
        assert done.status == 0, done.err
    assert [row["layer"] for row in done.json["layers"]] == ["phi_1", "rho_1", "logits"]
    assert len(done.json["edges"]) == sum(row["edges"] for row in done.json["layers"]) and done.json["vectors"] == 50
    assert "<svg" in (tmp_path / "edges.svg").read_text() and (tmp_path / "edges.png").read_bytes()[1:4] == b"PNG"
    shown = run("draw", tables, "--vectors", "50").out
    assert "whose predicted class changes when the edge's table is replaced by its mean" in shown and "rho_1" in shown


def test_draw_writes_the_forms_as_a_table(run, tables, tmp_path):
    done = run("draw", tables, "--forms", "--vectors", "50", "--within", "4", "--out", tmp_path / "forms", "--json")
    assert done.status == 0, done.err
    assert {path.name for path in tmp_path.iterdir()} == {f"forms.{end}" for end in ("json", "md", "csv", "tex")}
    rows = done.json["rows"]
    assert len(rows) == sum(of["forms"] for of in done.json["layers"]) > 0
    assert all(row["form"] in NAMES and row["error_steps"] <= 4 for row in rows)
    assert "edges have a form" in run("draw", tables, "--forms", "--vectors", "20").out
