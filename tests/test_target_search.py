"""`edgephys compress --target-luts`: which price is tried next, which model is chosen, and what was not reached."""

from math import isclose

import pytest

from edgephys.compress.pipeline_file import read
from edgephys.compress.price_search import FIRST, HIGHEST, MOST_TRIES, STEP, Try, best, next_price
from edgephys.compress.target_search import LutTarget, epochs_in, pipeline_at, tried_prices
from edgephys.core.errors import UsageError


def luts_at(price, start=10_000.0, fewest=0.0):
    """A circuit that shrinks with the price of an adder."""
    return max(round(start / (1 + (price / 1e-6) ** 0.5)), round(fewest))


def row(price, **more):
    luts = luts_at(price, **more)
    return {"price": price, "lut_estimate": luts, "metrics": {"accuracy": 0.5 + luts / 1e5, "accuracy_error": 0.01}}


def searched(luts, seconds=1e9, each=10.0, **more):
    """Search with a clock on which each price takes as long."""
    time, rows = [0.0], []

    def run(price):
        time[0] += each
        return row(price, **more)

    chosen, why = tried_prices(run, rows.append, luts, seconds, lambda: time[0])
    return next(one for one in rows if one["price"] == chosen), why, rows


@pytest.mark.parametrize("luts", [9000, 5000, 2000, 300])
def test_the_target_is_reached_within_a_tenth_or_a_quarter_in_price(luts):
    chosen, _, rows = searched(luts)
    assert chosen["lut_estimate"] <= luts and len(rows) <= MOST_TRIES
    close = [one["price"] for one in rows if one["lut_estimate"] > luts]
    assert chosen["lut_estimate"] >= 0.9 * luts or chosen["price"] / max(close) < STEP


def test_the_first_price_is_followed_by_higher_ones_until_one_reaches_the_target_then_by_those_between():
    tries = [Try(FIRST, 900, 0.8)]
    assert isclose(next_price(tries, 500), FIRST * STEP)
    tries.append(Try(FIRST * STEP, 100, 0.6))
    assert isclose(next_price(tries, 500), FIRST * STEP**0.5)
    assert isclose(next_price([Try(FIRST, 100, 0.6)], 500), FIRST / STEP)


def test_a_price_has_three_digits_for_it_names_a_folder():
    price = next_price([Try(FIRST, 900, 0.8), Try(FIRST * STEP, 100, 0.6)], 500)
    assert price == float(f"{price:.3g}")


def test_no_price_is_tried_that_is_beyond_all_sense_or_close_to_another():
    assert next_price([Try(HIGHEST, 900, 0.3)], 500) is None
    assert next_price([Try(1e-6, 900, 0.8), Try(1.2e-6, 100, 0.6)], 500) is None
    assert next_price([Try(1e-6, 460, 0.8)], 500) is None


def test_the_best_score_among_those_that_reach_the_target_is_chosen_else_the_smallest():
    tries = [Try(1e-6, 900, 0.9), Try(2e-6, 480, 0.7), Try(4e-6, 300, 0.8)]
    assert best(tries, 500) == tries[2] and best(tries, 100) == tries[2] and best(tries, 1000) == tries[0]


def test_a_target_that_no_price_reaches_gives_the_smallest_model_and_says_why():
    chosen, why, _ = searched(100, fewest=4000)
    assert chosen["lut_estimate"] == 4000 and "no smaller circuit" in why


def test_no_price_is_begun_that_would_end_after_the_time():
    _, why, rows = searched(5000, seconds=25, each=10)
    assert len(rows) == 2 and why == "the time is over"
    assert len(searched(5000, seconds=1, each=10)[2]) == 1  # one is always tried


def test_epochs_fit_into_the_time_and_stay_within_bounds():
    assert epochs_in(400, 5.0, 10.0) == 12
    assert epochs_in(1, 5.0, 10.0) == 3 and epochs_in(1e6, 1.0, 10.0) == 30


def test_a_target_is_a_share_or_a_number():
    assert LutTarget(0.5).number(1001) == 500 and LutTarget(300).number(1001) == 300
    with pytest.raises(UsageError, match=r"--target-luts must be above 0: .* not 0"):
        LutTarget(0)


def test_the_chosen_pipeline_has_stages_that_a_file_could_state(tmp_path):
    made = pipeline_at(2e-6, 9)
    assert [stage.kind for stage in made.stages] == ["frugal", "finetune", "shrink", "untie"]
    lines = []
    for stage in made.stages:
        lines.append("[[stage]]")
        record = {key: value for key, value in stage.to_record().items() if value not in (None, (), [])}
        lines += [f"{key} = {value!r}".replace("True", "true") for key, value in record.items()]
    (tmp_path / "same.toml").write_text("\n".join(lines).replace("'", '"'))
    assert read(tmp_path / "same.toml").stages == made.stages


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name a PIPELINE, such as compress/frugal.toml, or state --target-luts, such as 0.5"),
        (("p.toml", "--target-luts", "0.5"), "both came"),
        (("p.toml", "--max-minutes", "5"), "--max-minutes and --clock-ns go with --target-luts; leave them out"),
        (("p.toml", "--clock-ns", "4"), "--max-minutes and --clock-ns go with --target-luts; leave them out"),
    ],
)
def test_words_that_do_not_go_together_are_refused(run, tmp_path, words, message):
    ended = run("compress", tmp_path, *words, "--data", tmp_path / "x.h5", "--out", tmp_path / "out")
    assert ended.status == 2 and message in ended.err


@pytest.mark.slow
def test_a_model_of_its_own_is_halved_and_the_table_says_what_was_chosen(run, tmp_path, monkeypatch):
    import subprocess
    import sys

    monkeypatch.chdir(tmp_path)
    run("init", "mine")
    subprocess.run([sys.executable, "mine/data.py"], check=True)
    assert run("train", "mine/model.py", "--data", "mine/data.npz", "--out", "mine/full").status == 0
    words = ("compress", "mine/full", "--data", "mine/data.npz", "--out", "mine/half", "--max-minutes", 2)
    done = run(*words, "--target-luts", 0.5, "--clock-ns", 4)
    assert done.status == 0 and "of the start's %" in done.out and "at 4 ns" in done.out
    record = run(*words, "--target-luts", 0.5, "--clock-ns", 4, "--json").json
    chosen = next(row for row in record["rows"] if row["chosen"])
    assert chosen["reached"] and chosen["share"] <= 0.5 and record["unreached"] == []
    assert record["folder"] == "mine/half/model" and run("explain", record["folder"]).status == 0
    record = run(*words, "--target-luts", 0.001, "--max-minutes", 0.5, "--force", "--json").json
    assert "LUT were not reached: the smallest model has" in record["unreached"][0]
