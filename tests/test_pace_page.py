"""What the page of times says of each network: ahead of the solver of equal error, or behind it."""

import pytest

from edgephys.applications.waves.study import pace_page


def row_of(kind, seconds, error, **facts):
    return {"kind": kind, "seconds": seconds, "error_1": error, "error_1_error": 0.0, **facts}


SOLVERS = (
    row_of("solver", 1e-4, 0.05, refinement=1, steps=3),
    row_of("solver in C", 1e-5, 0.05, refinement=1, steps=3),
    row_of("solver", 1e-3, 0.01, refinement=2, steps=5),
    row_of("solver in C", 1e-4, 0.01, refinement=2, steps=5),
)
BEHIND = row_of("C", 1e-3, 0.02, model="slow", batch=1)
AHEAD = row_of("Keras", 2e-6, 0.05, model="fast", batch=64)
BETTER = row_of("C", 1e-3, 0.001, model="better", batch=1)
WRONG = row_of("firmware", 1e-6, 1.2, model="wrong")


def record_of(*rows):
    return {"rows": [*SOLVERS, *rows], "horizon": {"steps": 1}}


def test_a_verdict_names_the_fastest_solver_with_an_error_no_larger():
    lines = pace_page.verdicts(record_of(BEHIND, AHEAD, BETTER, WRONG))
    assert lines[0] == (
        "slow, C, 1 field at a time: behind, 10 times the time of solver in C, 2 cells a point, 5 steps a frame, the "
        "fastest solver with an error no larger, within both errors, after 1 step: 1.00 against 2.00 %."
    )
    assert lines[1].startswith(
        "fast, Keras, 64 fields at a time: ahead, 0.2 times the time of solver in C, 1 cell a point"
    )
    assert lines[2].endswith("no solver has an error as small after 1 step: 0.10 against 1.00 %.")
    assert lines[3].startswith("wrong, firmware, rolled out: no prediction, 0.1 times the time of solver in C")
    numpy_alone = pace_page.verdicts({**record_of(BEHIND), "rows": [SOLVERS[0], SOLVERS[2], BEHIND]})
    assert "behind, 1 times the time of solver in numpy, 2 cells a point" in numpy_alone[0]


def test_an_error_that_is_larger_within_both_errors_counts_as_no_larger():
    near = {**row_of("C", 2e-5, 0.045, model="near", batch=1), "error_1_error": 0.004}
    unsure = [{**solver, "error_1_error": 0.004} for solver in SOLVERS]
    (line,) = pace_page.verdicts({**record_of(near), "rows": [*unsure, near]})
    assert "behind, 2 times the time of solver in C, 1 cell a point" in line
    (line,) = pace_page.verdicts(record_of({**near, "error_1_error": 0.0}))
    assert "2 cells a point" in line


def test_the_conclusion_says_where_a_network_helps_and_where_the_solver_is_better():
    golden = row_of("golden model", 1.9e-1, 0.02, model="slow")
    wrong, better, helps = pace_page.conclusions(record_of(BEHIND, golden, AHEAD, BETTER, WRONG))
    assert wrong.startswith("No prediction after 1 step: wrong. An error of 100 % is that of a field of zeros")
    assert better.startswith("The solver is better than slow (C, golden model): 10 to 1,900 times as fast for an error")
    assert helps == "A network helps at equal error after 1 step: fast (Keras); better (C)."
    better, helps = pace_page.conclusions(record_of(BEHIND))
    assert "better than slow (C): 10 times as fast" in better
    assert helps.startswith("No network here is ahead of the solver at equal error after 1 step.")
    assert pace_page.conclusions(record_of(WRONG))[1:] == (helps,)


def test_the_column_of_the_solver_of_equal_error_is_empty_for_solvers_and_a_ratio_for_networks():
    record = record_of(BEHIND, BETTER)
    facts = {
        "frame_dt": 0.03,
        "rounds": 1,
        "waiting": 1.0,
        "no_firmware": {},
        "reference": {"refinement": 3, "steps_per_frame": 9},
    }
    record |= {**facts, "data": {"runs_measured": 2, "file": "waves.h5"}, "horizon": {"steps": 1, "start": 2}}
    for row in record["rows"][:4]:
        row |= {"setup_seconds": 1e-3, "compiler": "gcc", "flags": "-O3"}
    record["rows"] = [row | {"compiler": "gcc", "flags": "-O3"} for row in record["rows"]]
    column = pace_page.table(record).column("of_equal_solver")
    assert [column.show(row) for row in record["rows"]] == ["–", "–", "–", "–", "10 times, behind", "–"]
    assert [column.of(row) for row in record["rows"][3:5]] == [None, pytest.approx(10)]


def test_times_are_told_in_the_unit_that_suits_them():
    assert [pace_page.seconds(value) for value in (2.0, 0.0123, 4.56e-5, 7e-9)] == ["2 s", "12.3 ms", "45.6 µs", "7 ns"]
