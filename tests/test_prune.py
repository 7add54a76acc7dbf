"""Magnitude pruning: exact densities, the published schedule, few digits, and layers that really have fewer units."""

from itertools import pairwise

import numpy as np
import pytest
from compress_tasks import NETS, model_of, task_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgephys.compress import digits
from edgephys.compress.masks import SCOPES, largest
from edgephys.compress.model_structure import kernel_integers, kernel_layers, kernel_limits
from edgephys.compress.stages.finetune import Finetune
from edgephys.compress.stages.prune import Prune
from edgephys.core.errors import UsageError

NET = NETS["mlp"]


def kernels(model):
    return [layer.kernel.numpy() for layer in kernel_layers(model)]


def nonzero(model):
    return [int(np.count_nonzero(kernel)) for kernel in kernels(model)]


def pruned(model, **stated):
    return Prune(**{"epochs": 0, **stated}).apply(model, task_of(NET, 8), 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"density": 1.5}, "density must be above 0 and at most 1, not 1.5"),
        ({"density": 0}, "density must be above 0 and at most 1, not 0"),
        ({"scope": "layer"}, "scope must be one of weight, neuron, bit, not 'layer'"),
        ({"across": "unit"}, "across must be one of layer, model, not 'unit'"),
        ({"schedule": "linear"}, "schedule must be one of oneshot, gradual, not 'linear'"),
        ({"ramp": 0}, "ramp must be above 0 and at most 1, not 0"),
        ({"epochs": -1}, "epochs must be 0 or more, not -1"),
        (
            {"epochs": 0, "schedule": "gradual"},
            "epochs must be 1 or more where schedule = 'gradual', not 0; or set schedule = 'oneshot'",
        ),
    ],
)
def test_parameters_that_cannot_prune_are_refused(wrong, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        Prune(**wrong)


@given(
    st.lists(arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.floats(0, 2)), min_size=1),
    st.integers(0, 60),
)
def test_the_largest_of_several_arrays_are_chosen_and_no_zeros(parts, count):
    chosen = largest(parts, count)
    assert [one.shape for one in chosen] == [part.shape for part in parts]
    values, stay = (np.concatenate([of.ravel() for of in several]) for several in (parts, chosen))
    assert stay.sum() == min(count, np.count_nonzero(values))
    if stay.any() and not stay.all():
        assert values[stay].min() >= values[~stay].max()


# Weights ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [0.01, 0.3, 1])
def test_each_layer_keeps_exactly_the_density_of_its_largest_weights(density):
    model = model_of(NET)
    made = pruned(model, density=density)
    for before, after in zip(kernels(model), kernels(made.model), strict=True):
        stay = after != 0
        assert stay.sum() == round(density * before.size)
        assert np.array_equal(after[stay], before[stay])
        if stay.any():
            assert np.abs(before[stay]).min() >= np.abs(before[~stay]).max(initial=0)


def test_across_the_model_one_threshold_parts_all_weights():
    model = model_of(NET)
    first, *_ = kernel_layers(model)
    first.kernel.assign(first.kernel / 4)
    made = pruned(model, density=0.4, across="model")
    assert made.notes["stored"] == sum(nonzero(made.model)) == round(0.4 * made.notes["weights"])
    before, after = (np.concatenate([of.ravel() for of in kernels(one)]) for one in (model, made.model))
    assert np.abs(before[after != 0]).min() > np.abs(before[after == 0]).max()
    assert nonzero(made.model)[0] < 0.2 * first.kernel.numpy().size


def test_a_model_that_is_sparser_already_stays_as_it_is():
    sparse = pruned(model_of(NET), density=0.2).model
    again = pruned(sparse, density=0.5).model
    assert all(np.array_equal(*pair) for pair in zip(kernels(sparse), kernels(again), strict=True))


# The schedule -----------------------------------------------------------------------------------


@given(
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.integers(1, 50),
    st.floats(0.1, 1),
)
def test_the_density_falls_as_published(density, first, epochs, ramp):
    stage = Prune(density=density, schedule="gradual", epochs=epochs, ramp=ramp)
    last = max(1, round(ramp * epochs))
    first = max(first, density)
    assert stage.at(0, first) == pytest.approx(first)
    for t in range(last + 1):
        sparsity = (1 - density) + ((1 - first) - (1 - density)) * (1 - t / last) ** 3
        assert stage.at(t, first) == pytest.approx(1 - sparsity)
    assert all(stage.at(t, first) == density for t in range(last, epochs + 1))


@pytest.fixture(scope="module")
def gradual():
    """Prune gradually; return the stage, what was given, the density after every epoch's update, and the result."""
    model, task, seen = model_of(NET), task_of(NET), []
    given_model = pruned(model, density=0.8).model
    stage = Prune(density=0.25, schedule="gradual", epochs=4, ramp=0.75, batch=64, across="model")

    class Watched(SCOPES["weight"]):
        def thin(self, density):
            super().thin(density)
            seen.append([held.numpy() != 0 for held in self.masks.values()])

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SCOPES, "weight", Watched)
        made = stage.apply(given_model, task, 1)
    return stage, given_model, seen, made


def test_after_each_epoch_the_mask_holds_what_the_schedule_says(gradual):
    stage, model, seen, _ = gradual
    size = sum(kernel.size for kernel in kernels(model))
    first = sum(nonzero(model)) / size
    found = [sum(int(mask.sum()) for mask in masks) for masks in seen]
    assert found == [round(stage.at(t, first) * size) for t in range(1, 5)]
    assert found[2] == found[3] == round(0.25 * size) < found[1] < found[0] < sum(nonzero(model))


def test_what_has_gone_stays_away(gradual):
    _, model, seen, made = gradual
    masks = [[kernel != 0 for kernel in kernels(model)], *seen, [kernel != 0 for kernel in kernels(made.model)]]
    for wider, narrower in pairwise(masks):
        assert all(not (new & ~old).any() for old, new in zip(wider, narrower, strict=True))


def test_only_an_epoch_at_the_last_density_is_kept(gradual):
    stage, model, _, made = gradual
    assert made.notes["kept_epoch"] >= stage.ramped == 3
    assert made.notes["stored"] == round(0.25 * sum(kernel.size for kernel in kernels(model)))


def test_a_following_finetune_keeps_the_mask(gradual):
    *_, made = gradual
    tuned = Finetune(epochs=1, batch=64).apply(made.model, task_of(NET), 1).model
    for before, after in zip(kernels(made.model), kernels(tuned), strict=True):
        assert np.array_equal(before != 0, after != 0)
        assert not np.array_equal(before, after)


# Digits -----------------------------------------------------------------------------------------


def count(model):
    return [int(digits.count(kernel_integers(layer)).sum()) for layer in kernel_layers(model)]


@pytest.mark.parametrize("density", [0.1, 0.5, 1])
def test_each_layer_keeps_exactly_the_density_of_its_digits(density):
    model = model_of(NET)
    made = pruned(model, scope="bit", density=density).model
    assert count(made) == [round(density * before) for before in count(model)]


def test_the_digits_kept_are_the_first_ones_of_their_weights_and_the_largest():
    model = model_of(NET)
    made = pruned(model, scope="bit", density=0.4, across="model").model
    lost, cut = [], []
    for before, after in zip(kernel_layers(model), kernel_layers(made), strict=True):
        whole, few = kernel_integers(before), kernel_integers(after)
        limits, kept = kernel_limits(before), digits.count(few)
        assert np.array_equal(np.asarray(digits.leading(whole, kept, limits)), few)
        errors = digits.errors(whole, limits)
        at = np.arange(len(errors))[:, None, None]
        lost += errors[(at >= kept) & (errors > 0)].tolist()
        cut += errors[at < kept].tolist()
    assert min(cut) >= max(lost)


def test_all_digits_are_the_quantised_model():
    model = model_of(NET)
    made = pruned(model, scope="bit", density=1).model
    for before, after in zip(kernel_layers(model), kernel_layers(made), strict=True):
        assert np.array_equal(kernel_integers(before), kernel_integers(after))


@pytest.mark.slow
def test_digits_stay_few_in_training():
    model = model_of(NET)
    stage = Prune(scope="bit", density=0.4, schedule="gradual", epochs=2, ramp=0.5, batch=64)
    made = stage.apply(model, task_of(NET), 1).model
    assert all(after <= round(0.4 * before) for before, after in zip(count(model), count(made), strict=True))
    assert not np.array_equal(*(kernels(of)[0] for of in (pruned(model, scope="bit", density=0.4).model, made)))


# Units ------------------------------------------------------------------------------------------

HALVED = {
    "mlp": {"hidden_1": 3, "hidden_2": 2, "logits": 5},
    "deepsets": {"phi_1": 3, "phi_2": 2, "logits": 5},
    "interaction": {"receiver": 2, "sender": 2, "effect_2": 2, "object_1": 2, "classifier_1": 2, "logits": 5},
    "linear_interaction": {"phi_1": 2, "every": 2, "own": 2, "object_1": 2, "rho_1": 2, "logits": 5},
}


@pytest.mark.parametrize("family", sorted(NETS))
def test_a_pruned_model_really_has_fewer_units(family):
    made = pruned(model_of(NETS[family]), scope="neuron", density=0.5)
    assert made.notes["units"] == HALVED[family]
    assert {layer.name: layer.units for layer in kernel_layers(made.model)} == HALVED[family]
    assert made.model.count_params() < 0.6 * model_of(NETS[family]).count_params()


@pytest.mark.parametrize("across", ["layer", "model"])
def test_a_layer_keeps_one_unit_or_more(across):
    made = pruned(model_of(NETS["interaction"]), scope="neuron", density=0.01, across=across)
    assert set(made.notes["units"].values()) == {1, 5}


def test_a_unit_goes_where_the_norms_of_its_column_and_rows_multiply_to_least():
    model = model_of(NET)
    first, second, _ = kernel_layers(model)
    column, rows = first.kernel.numpy(), second.kernel.numpy()
    importance = np.linalg.norm(column, axis=0) * np.linalg.norm(rows, axis=1)
    made = pruned(model, scope="neuron", density=5 / 6).model
    stay = np.sort(np.argsort(importance)[1:])
    assert np.array_equal(kernels(made)[0], column[:, stay])


@pytest.mark.slow
def test_units_leave_in_the_course_of_a_training_too():
    model = model_of(NET)
    first, *_ = kernel_layers(model)
    first.kernel.assign(first.kernel * (np.arange(9) > 0)[:, None])
    stage = Prune(scope="neuron", density=0.5, schedule="gradual", epochs=2, ramp=1, batch=64)
    made = stage.apply(model, task_of(NET), 1)
    assert made.notes["units"] == HALVED["mlp"]
    assert not kernels(made.model)[0][0].any()
