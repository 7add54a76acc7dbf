"""Epochs are chosen from the front by validation accuracy and EBOPs, and their rows are averaged at equal limits."""

import json

import pytest
import rival_table
from hgq2_front import Epoch, best_within, chosen, epochs_of, forget_after, front, limits_of, rounded_up
from hgq2_schedule import betas_of, rate_of
from hypothesis import example, given
from hypothesis import strategies as st

from edgephys.core.errors import ProjectError
from edgephys.report import render
from edgephys.report.gains import tabulate

EPOCHS = st.lists(
    st.builds(
        Epoch,
        run=st.sampled_from(["a", "b"]),
        number=st.integers(1, 99),
        accuracy=st.integers(20, 80).map(lambda percents: percents / 100),
        ebops=st.integers(0, 10**9),
    ),
    max_size=30,
)


@given(EPOCHS)
def test_no_epoch_beats_one_of_the_front_and_each_other_one_is_matched(epochs):
    best = front(epochs)
    for one in best:
        assert not [other for other in epochs if other.accuracy > one.accuracy and other.ebops <= one.ebops]
        assert not [other for other in epochs if other.accuracy >= one.accuracy and other.ebops < one.ebops]
    for other in epochs:
        assert any(one.accuracy >= other.accuracy and one.ebops <= other.ebops for one in best)
    assert best == front(best) and len({one.ebops for one in best}) == len(best)


@given(EPOCHS, st.integers(0, 10**9))
def test_the_epoch_within_a_limit_is_the_most_accurate_one_that_meets_it(epochs, limit):
    met = [epoch for epoch in epochs if epoch.ebops <= limit]
    best = best_within(epochs, limit)
    if best is None:
        assert not met
    else:
        assert best in met and best.accuracy == max(epoch.accuracy for epoch in met)
        assert chosen(epochs, [limit]) == {limit: best}


@given(EPOCHS, st.integers(1, 5), st.floats(0, 0.5))
@example([Epoch("", 1, 0.5, 1)], 3, 0.04)
@example([Epoch("", 1, 0.5, 0), Epoch("", 2, 0.52, 999_999_999)], 3, 0.04)
def test_limits_go_from_the_cheapest_good_epoch_to_the_best_one(epochs, count, within):
    limits = limits_of(epochs, count, within)
    if not epochs:
        assert limits == []
        return
    best = front(epochs)[-1]
    assert 1 <= len(limits) <= count and limits == sorted(set(limits))
    assert best_within(epochs, limits[-1]).accuracy == best.accuracy
    assert len(chosen(epochs, limits)) == len(limits)
    if count > 1:
        assert best_within(epochs, limits[0]).accuracy >= best.accuracy - within


def test_three_limits_are_evenly_apart_in_the_logarithm():
    epochs = [Epoch("", 1, 0.50, 10), Epoch("", 2, 0.561, 100), Epoch("", 3, 0.60, 10_000)]
    assert limits_of(epochs) == [100, 1000, 10_000]


@given(st.floats(1, 1e9))
def test_a_limit_is_rounded_up_by_less_than_one_in_a_hundred(number):
    assert number * (1 - 1e-11) <= rounded_up(number) <= max(1.01 * number, number + 1)


def test_what_a_killed_training_noted_of_epochs_that_run_again_is_removed(tmp_path):
    history = tmp_path / "history.jsonl"
    forget_after(history, 0)
    assert epochs_of(history) == []
    lines = [{"epoch": float(number), "val_accuracy": 0.5, "ebops": 9.0, "seconds": 1} for number in (1, 2, 3)]
    history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    forget_after(history, 2)
    assert epochs_of(history, "a") == [Epoch("a", 1, 0.5, 9), Epoch("a", 2, 0.5, 9)]


# Schedules ----------------------------------------------------------------------------------------


def test_beta_rises_to_what_is_stated_and_of_tables_later():
    layers, tables = (betas_of(network, 3e-6, 7000, rises=True) for network in ("deepsets", "table_set"))
    assert [(round(epoch), how) for epoch, _, how in layers] == [(0, "linear"), (2000, "log"), (7000, "constant")]
    assert [beta for _, beta, _ in layers] == pytest.approx([2e-8, 3e-7, 3e-6])
    assert [(round(epoch), how) for epoch, _, how in tables] == [(0, "constant"), (3500, "log"), (7000, "constant")]
    assert [beta for _, beta, _ in betas_of("table_set", 1e-3, 10, rises=True)] == pytest.approx([5e-7, 5e-7, 1e-3])
    assert betas_of("deepsets", 3e-6, 7000, rises=False) == [(0, 3e-6, "constant")]


def test_the_learning_rate_falls_in_each_cycle_to_a_three_thousandth():
    rates = [rate_of(epoch, 3e-3, 100) for epoch in range(200)]
    assert rates[:100] == rates[100:] and rates[0] == pytest.approx(3e-3) and rates[45] == pytest.approx(1.5e-3, 0.01)
    assert rates[90:100] == pytest.approx([1e-6] * 10) and rates[:91] == sorted(rates[:91], reverse=True)


# The table ----------------------------------------------------------------------------------------


def row(seed=1, limit=1000, accuracy=0.5, lut=600, stage="synthesised", **more):
    settings = {"model": "m", "family": "jet_deepsets", "network": "deepsets", "shape": [8, 3], "seed": seed}
    settings |= {"beta": 1e-6, "beta_rises": True, "rounding": "RND", "epochs": 9, "batch": 8, "learning_rate": 0.1}
    settings |= {"cycle": 5, "jets": None, **more}
    result = {"accuracy": accuracy, "validation_accuracy": 0.5, "ebops": 900, "parameters": 9, "lut_estimate": 1}
    result |= {"delay_estimate_ns": 1.0, "latency_cycles": 4, "mismatches": 0, "vectors": 9, "widths": {}}
    circuit = {"lut": lut, "lut_stage": stage, "ff": 5, "versions": {}}
    training = {"train_seconds": 2, "versions": {"hgq2": "0"}}
    epoch = Epoch("", 3, 0.5, 950)
    return rival_table.row_of(settings, [1e-6, 3e-6], limit, epoch, 7, training, result, circuit, 100)


def test_a_run_of_the_same_settings_takes_the_place_of_its_row():
    record = rival_table.joined({"rows": [], "fronts": []}, [row(lut=600), row(2)], [{"seed": 1, "front": []}], "one")
    record = rival_table.joined(record, [row(lut=500)], [{"seed": 1, "front": [[1, 0.5, 9]]}], "two")
    assert [(one["seed"], one["lut"]) for one in record["rows"]] == [(1, 500), (2, 600)]
    assert record["fronts"] == [{"seed": 1, "front": [[1, 0.5, 9]]}]
    assert record["command"] == "one; two" and rival_table.joined(record, [], [], "two")["command"] == "one; two"
    other = rival_table.joined(record, [row(epochs=10), row(limit=2000)], [], "")
    assert len(other["rows"]) == 4 and other["rows"][0]["accuracy_error"] == pytest.approx(0.05)


def test_seeds_are_averaged_at_equal_limits_and_never_across_stages():
    rows = [row(1, accuracy=0.5), row(2, accuracy=0.6, lut=700), row(1, 2000), row(2, 2000, stage="estimated")]
    cheap, mixed = rival_table.over_seeds([*rows, row(1, 3000)])
    assert (cheap["seeds"], cheap["lut"], cheap["ff"], cheap["betas"]) == ([1, 2], 650, 5, [1e-6, 3e-6])
    assert cheap["accuracy"] == pytest.approx(0.55) and cheap["accuracy_deviation"] == pytest.approx(0.0707107)
    assert (mixed["limit"], mixed["lut"], mixed["lut_stage"], mixed["ff"]) == (2000, None, None, None)


def test_the_page_has_a_row_a_circuit_and_a_row_a_limit():
    record = rival_table.joined({"rows": [], "fronts": []}, [row(1), row(2, accuracy=0.6)], [], "make rival")
    page = render.page(rival_table.table(record), "rival")
    assert "| deepsets | 8 | 1,000 | 1 | 50.00 ± 5.00 | 50.00 | 900 | 600 | 5 | 4 | 0 | 1e-06 | 3 |" in page
    assert "| deepsets | 8 | 1,000 | 1, 2 | 55.00 ± 7.07 | 900 | 600 | 5 | 4 | 0 | 1e-06, 1e-06 |" in page
    single = rival_table.joined({"rows": [], "fronts": []}, [row(1)], [], "make rival")
    assert "No network was trained with several seeds." in render.page(rival_table.table(single), "rival")


def test_rows_that_do_not_state_their_choice_are_left_out_of_the_next_table(tmp_path):
    path = tmp_path / "rival.json"
    assert rival_table.read(path) == {"rows": [], "fronts": []}
    path.write_text(json.dumps({"rows": [{"model": "m", "beta": 3e-7}, row()]}))
    assert rival_table.read(path) == {"rows": [json.loads(json.dumps(row()))], "fronts": []}
    path.write_text("{}")
    with pytest.raises(ProjectError, match=r"rival\.json: expected a table in JSON with rows, received .*; remove it"):
        rival_table.read(path)


def test_gains_averages_the_rival_over_seeds_within_each_limit_whatever_its_betas(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    stage = {"stage": "start", "digest": "d" * 8, "weights": 9, "nonzero": 9, "digits": 9, "ebops": 9, "seconds": 1}
    stage |= {"adder_bits": 9, "lut_estimate": 9, "cycles_estimate": 9}
    metrics = {"accuracy": 0.5, "accuracy_error": 0.1}
    network = {"model": "m", "family": "jet_deepsets", "n": 8, "features": 3, "pipeline": "frugal", "seed": 1}
    record = {**network, "rows": [{**stage, "metrics": metrics}], "metrics": metrics}
    (run / "compression.json").write_text(json.dumps(record))
    rows = [row(1), row(2, beta=3e-6, lut=700), row(1, 2000), row(2, 2000)]
    (tmp_path / "rival.json").write_text(json.dumps({"rows": rows}))
    means = tabulate([run], [tmp_path / "rival.json"], "")["over_seeds"]
    assert [(mean["pipeline"], mean["limit"], mean["lut"], mean["seeds"]) for mean in means] == [
        ("hgq2", 1000, 650, [1, 2]), ("hgq2", 2000, 600, [1, 2]),
    ]  # fmt: skip
