"""The contract of every stage: an ordinary model of the same input and output, exact, with its zeros kept."""

import dataclasses

import numpy as np
import pytest
from compress_tasks import FIELDS, NETS, model_of, task_of

from edgephys.compress.model_structure import kernel_layers
from edgephys.compress.registry import stage_classes
from edgephys.compress.stage import Training
from edgephys.core.errors import ModelError, UsageError
from edgephys.graph import evaluate
from edgephys.graph.passes import lowered
from edgephys.models.files.keras import lower
from edgephys.networks.backend import predict
from edgephys.networks.kernels import kernel_of
from edgephys.networks.table_dense import TableDense

STAGES = {kind: stage for kind, stage in stage_classes().items() if not stage.takes_tables}
"""Those that take networks of kernels."""

GIVEN: dict[str, dict[str, object]] = {
    "bitwise": {"lut_cost": 1e-5, "widths": "tensor"},
    "frugal": {"widths": "channel"},
    "codebook": {"points": 5, "bucket": 7, "redistribute": True},
    "prune": {"epochs": 0, "scope": "neuron"},
    "spectrum": {"epochs": 0},
    "sparse_momentum": {"density": 0.3, "optimizer": "sgd"},
    "smooth": {"epochs": 2},
    "tabulate": {"epochs": 2},
    "nested": {"fractions": (0.5, 1.0), "emit": 0.5},
}
"""Parameters that a stage has no default for, or that make it do more."""

GROWS: tuple[str, ...] = ("sparse_momentum",)
"""Stages that may turn zeros into weights."""


DENSE: tuple[str, ...] = ("tabulate",)
"""Stages that take dense layers, which a network of convolutions has not."""


def stage_of(kind):
    quick = {"epochs": 1, "batch": 64} if issubclass(STAGES[kind], Training) else {}
    return STAGES[kind](**{**quick, **GIVEN.get(kind, {})})


COMPILED = "deepsets compiled"
LONG = ("mlp", "interaction", "linear_interaction", "wave cp", "wave full", COMPILED)
"""Nets that `make test` leaves to the slow tests.

There steps are not compiled, which takes longer than a few of them. Each stage's own tests compile them.
"""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.slow if name in LONG else ())
        for name in (*sorted(NETS | FIELDS), COMPILED)
    ],
)
def net(request):
    from edgephys.networks.backend import tf

    tf.config.run_functions_eagerly(request.param != COMPILED)
    yield (NETS | FIELDS)[request.param.removesuffix(" compiled")]
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module", params=sorted(STAGES))
def made(request, net):
    """What a stage makes of a model, twice."""
    if request.param in DENSE and net in FIELDS.values():
        pytest.skip("the network has no dense layer")
    model, task = model_of(net), task_of(net, jets=64)
    for layer in kernel_layers(model):
        kernel = kernel_of(layer).numpy()
        kernel[0, ::2] = 0
        kernel_of(layer).assign(kernel)
    before = [weight.copy() for weight in model.get_weights()]
    stage = stage_of(request.param)
    return request.param, model, before, stage.apply(model, task, 1), stage.apply(model, task, 1), task


def test_the_given_model_is_not_changed(made):
    _, model, before, *_ = made
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


def test_the_result_is_exact_in_firmware(made, net):
    *_, first, _, task = made
    graph = lowered(lower(first.model, net.input, "made"))
    x = task.test.inputs
    keras = predict(first.model, net.input.values(x).astype(np.float32), 512)
    assert np.array_equal(evaluate.run(graph, x) * 2.0**-graph.output.fixed.fraction, keras)


def test_one_seed_gives_one_model(made):
    *_, first, second, _ = made
    assert all(
        np.array_equal(*pair) for pair in zip(first.model.get_weights(), second.model.get_weights(), strict=True)
    )


def test_zero_weights_stay_zero(made):
    kind, model, _, first, _, _ = made
    if kind in GROWS:
        return
    for layer in kernel_layers(model):
        fresh = first.model.get_layer(layer.name)
        found = (fresh.mask if isinstance(fresh, TableDense) else kernel_of(fresh)).numpy()
        if found.shape == tuple(kernel_of(layer).shape):
            assert not found[0, ::2].any()


def test_frames_still_leave_in_the_format_in_which_they_enter(made, net):
    *_, first, _, _ = made
    if net in FIELDS.values():
        fixed = lower(first.model, net.input, "made").output.fixed
        assert dataclasses.replace(fixed, rounding=net.input.rounding) == net.input


@pytest.mark.parametrize("kind", sorted(STAGES))
def test_a_float_model_is_refused_with_what_to_do(kind):
    net = dataclasses.replace(NETS["mlp"], bits=None)
    with pytest.raises(ModelError, match="quantized_bits"):
        stage_of(kind).apply(model_of(net), task_of(net), 1)


def test_a_network_without_kernels_is_refused_with_its_layers():
    from edgephys.applications.waves.networks.wave_operator import WaveOperator

    model = WaveOperator(grid=8, width=2, kernel_size=3).build()
    message = (
        r"stages train kernels of dense layers and convolutions, and it has none, only 'operator' \(GatedOperator\)"
    )
    with pytest.raises(ModelError, match=message):
        kernel_layers(model)


@pytest.mark.parametrize("kind", [kind for kind in sorted(STAGES) if issubclass(STAGES[kind], Training)])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": -1}, "epochs must be [01] or more, not -1"),
        ({"batch": 0}, "batch must be 1 or more, not 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0 and at most 1, not 0"),
        ({"keep": "all"}, "keep must be one of best, last, not 'all'"),
        ({"temperature": 0.0}, "temperature must be above 0 and at most 100, not 0"),
        ({"teacher_share": 1.5}, "teacher_share must be 0 or more and at most 1, not 1.5"),
    ],
)
def test_numbers_that_cannot_train_are_refused(kind, wrong, message):
    with pytest.raises(UsageError, match=message):
        STAGES[kind](**{**GIVEN.get(kind, {}), **wrong})


@pytest.mark.parametrize("kind", [kind for kind in sorted(STAGES) if issubclass(STAGES[kind], Training)])
def test_only_stages_that_remove_something_do_without_training(kind):
    if STAGES[kind].fewest_epochs == 0:
        assert kind in ("prune", "spectrum")
        return
    with pytest.raises(UsageError, match="epochs must be 1 or more, not 0"):
        STAGES[kind](**{**GIVEN.get(kind, {}), "epochs": 0})
