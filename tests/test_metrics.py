"""Metrics equal brute force over all jets or all pairs, and refuse what has no answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgephys.applications import metrics
from edgephys.core.errors import DataError


def test_the_relative_error_is_the_mean_of_each_fields():
    generator = np.random.default_rng(0)
    wanted = generator.normal(size=(7, 4, 5, 1))
    found = wanted + 0.1 * generator.normal(size=wanted.shape)
    each = [(((f - w) ** 2).sum() / (w**2).sum()) ** 0.5 for f, w in zip(found, wanted, strict=True)]
    measured = metrics.relative_l2(found, wanted)
    assert measured.value == pytest.approx(sum(each) / 7)
    assert measured.error == pytest.approx((sum((one - measured.value) ** 2 for one in each) / 6 / 7) ** 0.5)
    assert metrics.relative_l2(2 * wanted, wanted) == metrics.Measured(pytest.approx(1), pytest.approx(0, abs=1e-9))


@pytest.mark.parametrize(
    ("found", "wanted", "message"),
    [
        (np.ones((1, 2)), np.ones((1, 2)), r"2 or more: \(1, 2\), \(1, 2\)"),
        (np.ones((3, 2)), np.ones((3, 2, 1)), r"as many fields as wanted, 2 or more: \(3, 2\), \(3, 2, 1\)"),
        (np.ones((2, 2)), np.array([[1, 0], [0, 0]]), "field 1 is 0 everywhere: no error is relative to it; drop it"),
    ],
)
def test_fields_without_a_relative_error_are_refused(found, wanted, message):
    with pytest.raises(DataError, match=f"^relative L2.*{message}$"):
        metrics.relative_l2(found, wanted)


CLASSES = ("g", "q", "W")


def scored(count=60, seed=0, ties=False):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    logits = generator.normal(size=(count, 3)) + 1.2 * np.eye(3)[labels]
    return (logits.round() if ties else logits), labels


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_is_the_share_of_jets_with_a_binomial_error(seed):
    logits, labels = scored(seed=seed)
    right = sum(max(range(3), key=lambda k: row[k]) == label for row, label in zip(logits, labels, strict=True))
    found = metrics.accuracy(logits, labels)
    assert found.value == right / 60
    assert found.error == pytest.approx((right / 60 * (1 - right / 60) / 60) ** 0.5)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_auc_is_the_share_of_pairs_in_order(seed, ties):
    logits, labels = scored(seed=seed, ties=ties)
    scores = metrics.softmax(logits)
    assert np.allclose(scores, np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    found = metrics.auc(logits, labels, CLASSES)
    for k, name in enumerate(CLASSES):
        pairs = scores[labels == k, k][:, None] - scores[labels != k, k]
        assert found[name].value == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean())


def test_the_error_of_an_auc_is_the_spread_of_repeated_samples():
    """Hanley and McNeil's error, held against the spread of AUCs over 150 samples."""
    found = [metrics.auc(*scored(120, seed), CLASSES)["g"] for seed in range(150)]
    spread = np.std([one.value for one in found])
    assert np.mean([one.error for one in found]) == pytest.approx(spread, rel=0.25)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("efficiency", [0.3, 0.5, 0.8])
def test_rejection_is_one_over_the_background_that_passes_the_cut(seed, efficiency):
    logits, labels = scored(3000, seed)
    scores = metrics.softmax(logits)[:, 1]
    signal, background = np.sort(scores[labels == 1]), scores[labels != 1]
    kept = int(np.ceil(efficiency * len(signal)))
    tight, loose = ((background >= signal[-kept + step]).mean() for step in (1, -1))
    found = metrics.rejection(logits, labels, 1, efficiency)
    assert tight <= 1 / found.value <= loose
    passed = 1 / found.value
    assert found.error == pytest.approx(((1 - passed) / (passed * len(background))) ** 0.5 / passed)


@given(st.lists(st.tuples(*[st.floats(-700, 700)] * 3), min_size=1, max_size=20))
@settings(max_examples=50)
def test_softmax_gives_probabilities_in_the_order_of_the_logits(rows):
    found = metrics.softmax(np.array(rows))
    assert np.allclose(found.sum(1), 1)
    assert (found >= 0).all()
    assert (np.take_along_axis(found, np.argmax(rows, 1)[:, None], 1)[:, 0] == found.max(1)).all()


@pytest.mark.parametrize(
    "measure",
    [metrics.accuracy, lambda x, y: metrics.auc(x, y, CLASSES), lambda x, y: metrics.rejection(x, y, 1, 0.5)],
    ids=["accuracy", "auc", "rejection"],
)
@pytest.mark.parametrize(("jets", "labels"), [(0, 0), (3, 2), (0, 2)])
def test_logits_without_as_many_labels_are_refused(measure, jets, labels):
    with pytest.raises(
        DataError, match=rf"^metrics need as many logits as labels and at least one: {jets} and {labels}$"
    ):
        measure(np.zeros((jets, 3)), np.zeros(labels, int))


def test_an_auc_of_a_class_without_jets_is_refused():
    logits, labels = scored()
    with pytest.raises(DataError, match=r"^class 'W': an AUC needs jets of it and of others, found 0 and \d+$"):
        metrics.auc(logits[labels != 2], labels[labels != 2], CLASSES)
    with pytest.raises(DataError, match=r"^class 'g': an AUC needs jets of it and of others, found \d+ and 0$"):
        metrics.auc(logits[labels == 0], labels[labels == 0], CLASSES)


def test_a_rejection_without_background_is_refused():
    labels = np.array([0, 0, 1, 1])
    with pytest.raises(DataError, match=r"^rejection at 0\.5: no background jet passes; use more jets$"):
        metrics.rejection(np.eye(3)[labels] * 5, labels, 1, 0.5)


@pytest.mark.parametrize("label", [0, 2])
def test_a_rejection_with_one_kind_of_jets_is_refused(label):
    logits, _ = scored(10)
    with pytest.raises(DataError, match=r"^rejection needs jets of class 0 and of others, found \d+ and \d+$"):
        metrics.rejection(logits, np.full(10, label), 0, 0.5)
