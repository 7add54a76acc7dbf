"""Sparse momentum: trained from scratch, each published step as it is written, and the density held."""

import math

import numpy as np
import pytest
from compress_tasks import NETS, model_of, task_of
from hypothesis import given
from hypothesis import strategies as st

from edgephys.compress.model_structure import kernel_layers, kernel_limits, kernel_step
from edgephys.compress.stages import sparse_momentum
from edgephys.compress.stages.sparse_momentum import (
    SparseKernels,
    SparseMomentum,
    exactly,
    importance,
    regrown,
    shared_out,
)
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras

pytestmark = pytest.mark.slow

NET = NETS["mlp"]
SIZE = 9 * 6 + 6 * 5 + 5 * 5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"density": 1.5}, "density must be above 0 and at most 1, not 1.5"),
        ({"prune_rate": 0}, "prune_rate must be above 0 and at most 1, not 0"),
        ({"rate_schedule": "step"}, "rate_schedule must be one of cosine, linear, not 'step'"),
        ({"optimizer": "rmsprop"}, "optimizer must be one of adam, sgd, not 'rmsprop'"),
        ({"epochs": 0}, "epochs must be 1 or more, not 0"),
    ],
)
def test_parameters_that_cannot_train_are_refused(wrong, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        SparseMomentum(**wrong)


def test_the_prune_rate_falls_by_half_a_cosine_or_a_line():
    stage = SparseMomentum(epochs=10, prune_rate=0.5)
    assert stage.rate(0) == pytest.approx(0.5)
    assert stage.rate(5) == pytest.approx((0.5 + 0.005) / 2)
    assert stage.rate(10) == pytest.approx(0.005)
    line = SparseMomentum(epochs=10, prune_rate=0.5, rate_schedule="linear")
    assert [line.rate(epoch) for epoch in (0, 5, 10)] == pytest.approx([0.5, 0.25, 0])


# The steps on plain arrays ----------------------------------------------------------------------


@st.composite
def layers(draw):
    """Kernels with their momenta and masks; weights outside a mask are zero."""
    random = np.random.default_rng(draw(st.integers(0, 2**20)))
    density = draw(st.floats(0.05, 1))
    shapes = draw(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4))
    masks = [random.random(shape) < density for shape in shapes]
    kernels = [random.normal(size=mask.shape).astype(np.float32) * mask for mask in masks]
    momenta = [np.abs(random.normal(size=mask.shape)).astype(np.float32) * 2 ** random.normal() for mask in masks]
    return kernels, momenta, masks


def shares_of(momenta, masks):
    means = [m[mask].mean() if mask.any() else 0.0 for m, mask in zip(momenta, masks, strict=True)]
    return [mean / sum(means) if sum(means) else 1 / len(means) for mean in means]


def removed_of(shares, masks, rate):
    """Step 2 and the number of step 3, written down once more."""
    found = []
    for share, mask in zip(shares, masks, strict=True):
        sparsity = 1 - mask.mean()
        own = min(sparsity, rate) if sparsity < 0.2 and share > 1 / len(masks) else rate
        found.append(math.ceil(own * mask.sum()))
    return found


@given(layers(), st.floats(0.01, 1), st.integers(-5, 5))
def test_the_smallest_weights_go_and_the_largest_momenta_grow(given_layers, rate, adjustment):
    kernels, momenta, masks = given_layers
    shares = shares_of(momenta, masks)
    removed = removed_of(shares, masks, rate)
    pruned = []
    for kernel, mask, gone in zip(kernels, masks, removed, strict=True):
        weights = np.where(mask, np.abs(kernel), -1)
        pruned.append((weights > np.sort(weights, axis=None)[(~mask).sum() + gone - 1]) & mask if gone else mask)
    room = [0.99 * (~mask).sum() for mask in pruned]
    growth = shared_out([math.ceil(share * (sum(removed) + adjustment)) for share in shares], room)
    for wanted, momentum, stays, mask in zip(
        growth, momenta, pruned, regrown(*given_layers, rate, adjustment), strict=True
    ):
        assert not (stays & ~mask).any()
        new, free = mask & ~stays, ~mask
        assert new.sum() == max(0, math.floor(wanted))
        if new.any() and free.any():
            assert momentum[new].min() >= momentum[free].max()


def test_an_important_layer_that_is_nearly_dense_is_pruned_by_its_sparsity_only():
    kernels = [np.arange(1, 11, dtype=np.float32)[:, None] for _ in range(2)]
    masks = [np.ones((10, 1), bool) for _ in range(2)]
    for mask in masks:
        mask[0] = False
    momenta = [np.full((10, 1), 3, np.float32), np.full((10, 1), 1, np.float32)]
    first, second = removed_of(shares_of(momenta, masks), masks, 0.5)
    assert (first, second) == (1, 5)
    grown = regrown(kernels, momenta, masks, 0.5, 0)
    assert [int(mask.sum()) for mask in grown] == [8 + 1, 4 + 5]  # 5 wanted, room for 1.98; the rest is shared


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 30)), min_size=1, max_size=5))
def test_what_one_layer_cannot_grow_is_shared_by_the_others(asked):
    wanted, room = zip(*asked, strict=True)
    growth = shared_out(wanted, room)
    assert all(0 <= of <= most for of, most in zip(growth, room, strict=True))
    assert sum(growth) == pytest.approx(min(sum(wanted), sum(room)), rel=1e-6, abs=1e-6)


@given(layers(), st.floats(0, 1))
def test_the_last_step_makes_the_number_of_weights_exact(given_layers, density):
    kernels, momenta, masks = given_layers
    target = round(density * sum(mask.size for mask in masks))
    made = exactly(kernels, momenta, masks, target)
    before, after, momentum, weight = (
        np.concatenate([of.ravel() for of in part]) for part in (masks, made, momenta, kernels)
    )
    assert after.sum() == target
    new, gone = after & ~before, before & ~after
    assert not (new.any() and gone.any())
    if new.any() and not after.all():
        assert momentum[new].min() >= momentum[~after].max()
    if gone.any() and after.any():
        assert np.abs(weight[gone]).max() <= np.abs(weight[after]).min()


# On a model -------------------------------------------------------------------------------------


def test_training_starts_from_fresh_weights_in_their_range():
    starts = []
    for seed in (1, 2):
        layers = kernel_layers(model_of(NET, seed))
        sparse = SparseKernels(layers, 0.5, np.random.default_rng(7))
        starts.append([layer.kernel.numpy() for layer in layers])
        for layer in layers:
            low, high = kernel_limits(layer)
            kernel = layer.kernel.numpy() / kernel_step(layer)
            assert low <= kernel.min() and kernel.max() <= high
            assert not layer.bias.numpy().any()
            assert np.array_equal(kernel != 0, sparse.masks[layer.name].numpy() != 0)
        assert sparse.target == round(0.5 * SIZE)
    assert all(np.array_equal(*pair) for pair in zip(*starts, strict=True))
    assert 0 < sum(np.count_nonzero(kernel) for kernel in starts[0]) < SIZE


def moved(rate=0.5, times=1):
    layers = kernel_layers(model_of(NET))
    sparse = SparseKernels(layers, 0.4, np.random.default_rng(3))
    random = np.random.default_rng(4)
    before = [layer.kernel.numpy() for layer in layers]
    for _ in range(times):
        sparse.move(rate, lambda kernel: random.random(tuple(kernel.shape)).astype(np.float32))
    return sparse, before


def test_new_weights_are_zero_and_those_that_grow_again_keep_their_value():
    sparse, before = moved()
    again = 0
    for layer, old in zip(sparse.layers, before, strict=True):
        mask, kernel = sparse.masks[layer.name].numpy() != 0, layer.kernel.numpy()
        assert np.array_equal(kernel, np.where(mask, old, 0))
        again += int((mask & (old != 0)).sum())
    assert again > 0.5 * sparse.target * 0.9


def test_what_was_missed_adjusts_the_next_growth_as_published():
    sparse, _ = moved(times=3)
    adjustment = 0.0
    for past in range(1, 4):
        missed = sparse.missed[:past]
        adjustment = 0.25 * adjustment + 0.75 * missed[-1] + sum(missed) / past
    assert sparse.adjustment == pytest.approx(adjustment)


@pytest.mark.parametrize(
    "optimizer",
    [keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)],
    ids=["adam", "sgd"],
)
def test_importance_is_the_published_one(optimizer):
    other, kernel = (keras.Variable(np.zeros((2, 3), np.float32)) for _ in range(2))
    optimizer.build([other, kernel])
    gradients = np.random.default_rng(1).normal(size=(4, 2, 3)).astype(np.float32)
    first = second = total = np.zeros((2, 3))
    for gradient in gradients:
        optimizer.apply([keras.ops.ones((2, 3)), keras.ops.convert_to_tensor(gradient)], [other, kernel])
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        total = 0.9 * total + gradient
    adam = isinstance(optimizer, keras.optimizers.Adam)
    expected = np.abs(first) / (np.sqrt(second) + 1e-8) if adam else 0.01 * np.abs(total)
    assert importance(optimizer, kernel) == pytest.approx(expected, rel=1e-4)


@pytest.fixture(scope="module")
def trained():
    """Train; return the masks after each move and the result."""
    seen = []

    class Watched(SparseKernels):
        def move(self, rate, momentum):
            for layer in self.layers:  # the dense training never ran
                assert not np.any(layer.kernel.numpy()[self.masks[layer.name].numpy() == 0])
            super().move(rate, momentum)
            seen.append((rate, {name: mask.numpy() != 0 for name, mask in self.masks.items()}))

    stage = SparseMomentum(density=0.3, epochs=4, batch=64, learning_rate=0.02)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse_momentum, "SparseKernels", Watched)
        return stage, seen, stage.apply(model_of(NET), task_of(NET), 1)


def test_the_density_is_held_after_every_regrowth(trained):
    _, seen, made = trained
    assert made.notes["target"] == round(0.3 * SIZE)
    for _, masks in seen:
        assert abs(sum(int(mask.sum()) for mask in masks.values()) - 0.3 * SIZE) <= 1


def test_weights_move_after_every_epoch_but_the_last(trained):
    stage, seen, _ = trained
    assert [rate for rate, _ in seen] == [stage.rate(epoch) for epoch in (1, 2, 3)]
    first, *_, last = (np.concatenate([mask.ravel() for mask in masks.values()]) for _, masks in seen)
    assert (first != last).any()


def test_the_weights_kept_are_those_inside_a_mask_that_has_moved(trained):
    _, seen, made = trained
    kept = made.notes["kept_epoch"]
    assert kept >= 2
    for name, mask in seen[kept - 2][1].items():
        kernel = made.model.get_layer(name).kernel.numpy()
        assert not kernel[~mask].any()
        assert np.count_nonzero(kernel) == made.notes["nonzero"][name]
    assert sum(made.notes["nonzero"].values()) >= 0.8 * made.notes["target"]


def test_biases_are_not_masked(trained):
    assert all(layer.bias.numpy().any() for layer in kernel_layers(trained[2].model))
