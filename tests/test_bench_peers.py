"""Runtimes of others: the same integers, what they refuse, and what to install."""

import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgephys.bench import emlearn_runtime, peers, plain_onnx, runners, sofie_runtime
from edgephys.bench.peers import Peer
from edgephys.bench.worker import Job
from edgephys.core.errors import ToolError
from edgephys.core.fixed import Fixed
from edgephys.report import bench_figure


@pytest.fixture(autouse=True)
def float_errors_as_before():
    """Importing emlearn makes numpy raise them for the whole process; `edgephys bench` runs it in one of its own."""
    before = np.geterr()
    yield
    np.seterr(**before)


FORMAT = Fixed(True, 16, 4)
X = np.random.default_rng(1).integers(-128, 128, (40, 2, 3))
"""Integers, of which many products lie halfway between two steps."""


def dequantised(name, values, scale, zero):
    tensors = [numpy_helper.from_array(np.asarray(values, zero.dtype), f"{name}_integers")]
    tensors += [
        numpy_helper.from_array(np.float32(scale), f"{name}_scale"),
        numpy_helper.from_array(zero, f"{name}_zero"),
    ]
    return tensors, helper.make_node("DequantizeLinear", [tensor.name for tensor in tensors], [name])


def network(extra=(), last="hidden", layers=2):
    """Return an ONNX model: weights of 8 bits, ReLU to 8 bits without a sign, and ``extra`` nodes."""
    random = np.random.default_rng(2)
    first, first_node = dequantised("w1", random.integers(0, 255, (6, 4)), 0.0625, np.uint8(128))
    second, second_node = dequantised("w2", random.integers(-127, 127, (4, 5)), 0.5, np.int8(0))
    step = [numpy_helper.from_array(np.float32(2), "step"), numpy_helper.from_array(np.uint8(0), "none")]
    flat = numpy_helper.from_array(np.array([-1, 6]), "flat")
    nodes = [
        *(helper.make_node("Reshape", ["x", "flat"], ["rows"]), first_node),
        helper.make_node("Gemm", ["rows", "w1"], ["sums"]),
        helper.make_node("QuantizeLinear", ["sums", "step", "none"], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", "step", "none"], ["hidden"]),
        *extra,
    ]
    nodes += [second_node, helper.make_node("Gemm", [last, "w2"], ["y"])][: 2 * (layers - 1)]
    end = "y" if layers == 2 else last
    edges = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 3]),
        helper.make_tensor_value_info(end, TensorProto.FLOAT, ["N", 5 if layers == 2 else 4]),
    ]
    used = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in (*first, *second, *step, flat) if tensor.name in used]
    graph = helper.make_graph(nodes, "network", edges[:1], edges[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def job_of(folder, load, model=None) -> Job:
    onnx.save(model or network(), folder / "model.onnx")
    np.savez(folder / "vectors.npz", inputs=X)
    facts = {"input": {"shape": [2, 3], "fraction": 0}, "output": {"shape": [5], "fraction": 0}}
    return Job("onnx", load, folder / "model.onnx", facts, folder / "vectors.npz", FORMAT, FORMAT)


def expected(path):
    session = onnxruntime.InferenceSession(path)
    return session.run(None, {"x": X.astype(np.float32)})[0]


def loaded(name):
    return next(peer.load for peer in peers.PEERS if peer.name == name)


def test_plain_operators_compute_the_same_integers_ties_and_saturation_too(tmp_path) -> None:
    job = job_of(tmp_path, "onnx")
    plain_onnx.write_plain(job.source, tmp_path / "plain.onnx")
    operators = {node.op_type for node in onnx.load(tmp_path / "plain.onnx").graph.node}
    assert operators == {"Reshape", "Gemm", "Mul", "Add", "Sub", "Clip"}
    session = onnxruntime.InferenceSession(tmp_path / "plain.onnx")
    name = session.get_inputs()[0].name
    received = [session.run(None, {name: x[None].astype(np.float32)})[0][0] for x in X]
    np.testing.assert_array_equal(received, expected(job.source))


def test_names_of_a_received_file_do_not_reach_generated_source(tmp_path) -> None:
    model = network()
    for node in model.graph.node:
        node.name = 'x; system("id");'
        for names in (node.input, node.output):
            names[:] = [name.replace("hidden", "x; abort();") for name in names]
    plain_onnx.write_plain(job_of(tmp_path, "onnx", model).source, tmp_path / "plain.onnx")
    graph = onnx.load(tmp_path / "plain.onnx").graph
    named = [name for node in graph.node for name in (node.name, *node.input, *node.output)]
    named += [entry.name for entry in (*graph.input, *graph.output, *graph.initializer)]
    assert all(name.isalnum() for name in [*named, graph.name])


@pytest.mark.parametrize("name", ["tract", "sofie"])
def test_a_peer_computes_the_integers_of_an_emitted_model(name, tmp_path) -> None:
    pytest.importorskip(name)
    job = job_of(tmp_path, loaded(name))
    runner = runners.load(job)
    for batch in (1, 16):
        np.testing.assert_array_equal(runner.outputs(batch, 40), expected(job.source))
        assert (runner.slice(batch, 10) >= 0).all()
    assert runner.version and name in runner.tool.lower()


def test_emlearn_computes_the_dense_layers_without_rounding(tmp_path) -> None:
    pytest.importorskip("emlearn")
    runner = runners.load(job_of(tmp_path, loaded("emlearn")))
    layers = emlearn_runtime.dense_layers(tmp_path / "model.onnx", 6)
    assert layers.activations == ["relu", "identity"]
    hidden = np.maximum(X.reshape(-1, 6) @ layers.weights[0], 0)
    np.testing.assert_allclose(runner.outputs(1, 40), hidden @ layers.weights[1], rtol=1e-4, atol=1e-2)
    np.testing.assert_array_equal(runner.outputs(16, 40), runner.outputs(1, 40))


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (network([helper.make_node("Abs", ["hidden"], ["more"])], "more"), 6, "with ReLU only; this network has Abs"),
        (network([helper.make_node("Add", ["hidden", "hidden"], ["more"])], "more"), 6, "this network has Add"),
        (network(layers=1), 6, "two dense layers or more; this network has 1"),
        (network(), 12, "takes all 12 inputs at once; this network's takes 6"),
    ],
)
def test_networks_that_emlearn_cannot_compute_are_refused_with_the_reason(model, inputs, message, tmp_path) -> None:
    with pytest.raises(ToolError, match=message):
        emlearn_runtime.dense_layers(job_of(tmp_path, "", model).source, inputs)


@pytest.mark.parametrize(
    ("name", "operator", "message"),
    [("sofie", "Round", "SOFIE refuses the model: .*Round"), ("tract", "Det", "tract refuses the model: .*Det")],
)
def test_an_operator_that_a_peer_does_not_have_is_named(name, operator, message, tmp_path) -> None:
    pytest.importorskip(name)
    model = network([helper.make_node(operator, ["hidden"], ["more"])], "more")
    with pytest.raises(ToolError, match=message) as raised:
        runners.load(job_of(tmp_path, loaded(name), model))
    assert "backtrace" not in str(raised.value)


def test_a_scale_that_is_no_constant_is_refused(tmp_path) -> None:
    model = network()
    model.graph.node[3].input[1] = "sums"
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ToolError, match="bytes: expected a scale and a zero of one constant each, received"):
        plain_onnx.plain(tmp_path / "model.onnx")


@pytest.mark.parametrize("name", [peer.name for peer in peers.PEERS])
def test_a_missing_peer_says_what_to_install(name, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ToolError, match=f"{name} is missing .*: pip install {name}"):
        runners.load(job_of(tmp_path, loaded(name)))


def test_a_missing_blas_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(sofie_runtime.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ToolError, match="needs a BLAS: SciPy's wheel has one; pip install scipy"):
        sofie_runtime._blas()


def test_a_peer_from_outside_is_one_entry_with_jobs_and_labels(tmp_path, monkeypatch) -> None:
    toy = Peer("abacus", "somewhere:abacus", {"onnx": "abacus, our export"}, exact=False)
    monkeypatch.setattr(peers, "PEERS", (toy,))
    job = replace(job_of(tmp_path, "onnx"), target="onnx mine")
    (found,) = peers.peer_jobs(job)
    assert (found.target, found.runner, found.must_match) == ("onnx_abacus mine", "somewhere:abacus", False)
    assert peers.peer_jobs(replace(job, runner="c")) == []
    assert peers.peer_labels() == {"onnx_abacus": "abacus, our export"}


def test_every_peer_has_a_label_in_the_figure() -> None:
    assert bench_figure.label("onnx_sofie mine") == "SOFIE, our export (mine)"
    assert set(peers.peer_labels()) <= bench_figure.LABELS.keys() & bench_figure.COLOURS.keys()


def test_a_peer_that_makes_numpy_raise_float_errors_changes_nothing_here(tmp_path, monkeypatch):
    (tmp_path / "loud_peer.py").write_text("import numpy\nnumpy.seterr(all='raise')\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = np.geterr()
    peers.imported("loud_peer")
    assert np.geterr() == before
