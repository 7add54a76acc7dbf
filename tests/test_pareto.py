"""The front: what is on it, who sees the test jets, and runs that are never done twice."""

import json
import shutil
import threading
import time

import pareto_runs
import pytest
from conftest import SAMPLE
from hypothesis import given
from hypothesis import strategies as st
from pareto_runs import KNOB, MEMBERS, MODEL, NAMES, SCALING, run_of

from edgephys.compress import pareto_sweep as pareto
from edgephys.compress.local_executor import one_by_one
from edgephys.compress.pareto_front import dominates, dominators, pareto_front
from edgephys.compress.run_pipeline import TABLE
from edgephys.core.errors import ModelError, ProjectError, ToolError, UsageError
from edgephys.workflow.firmware import FirmwarePlan


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(KNOB)
    return path


@pytest.fixture
def asked(tmp_path):
    return lambda *seeds, **more: pareto_runs.sweep_of(tmp_path, *seeds, **more)


def swept(of, carry=one_by_one, work=pareto_runs.work, **more):
    return pareto_runs.swept(of, carry, work, **more)


@pytest.fixture(autouse=True)
def real_run_again(monkeypatch):
    monkeypatch.setattr(pareto, "run", pareto.run)


# What is on the front ------------------------------------------------------------------------------

POINTS = st.lists(st.tuples(*[st.integers(0, 4).map(float)] * 3), max_size=12)


@given(POINTS)
def test_no_member_of_the_front_is_dominated_and_every_other_run_is_by_the_member_it_names(points):
    by = dominators(points)
    for point, of in zip(points, by, strict=True):
        if of is None:
            assert not any(dominates(other, point) for other in points)
        else:
            assert by[of] is None and dominates(points[of], point)


@given(POINTS, POINTS)
def test_more_runs_free_no_dominated_one(points, more):
    first, later = dominators(points), dominators(points + more)
    assert all(of is not None for before, of in zip(first, later, strict=False) if before is not None)


def test_a_run_dominates_where_it_is_nowhere_worse_and_somewhere_better():
    assert dominates((0.6, 10, 5), (0.6, 11, 5)) and dominates((0.61, 10, 5), (0.6, 10, 5))
    assert not dominates((0.6, 10, 5), (0.6, 10, 5)) and not dominates((0.61, 10, 6), (0.6, 10, 5))


def test_runs_are_compared_by_synthesis_where_all_have_it_and_else_all_by_the_estimate():
    a, b = run_of("a", 0.6, 100, lut=150, cycles=9), run_of("b", 0.6, 90, lut=160, cycles=9)
    both = pareto_front([a, b])
    assert (both.lut_stage, both.cycles_stage) == ("synthesised", "simulated")
    assert [run.name for run in both.members] == ["a"] and both.dominated_by == (None, "a")
    mixed = pareto_front([a, b, run_of("c", 0.5, 95)])
    assert (mixed.lut_stage, mixed.cycles_stage) == ("estimated", "estimated")
    assert [run.name for run in mixed.members] == ["b"]
    assert pareto_front([]).members == () and pareto_front([]).lut_stage == "estimated"


def test_test_figures_are_told_of_members_alone():
    tested = {"accuracy": 0.55, "accuracy_error": 0.002}
    rows = pareto_front([run_of("a", 0.6, 100, test=tested), run_of("b", 0.5, 100, test=tested)]).to_record()["runs"]
    assert [(row["front"], row["test"]) for row in rows] == [(True, tested), (False, None)]


# A sweep, and a second start -----------------------------------------------------------------------


def test_every_value_and_seed_is_run_once_and_the_front_alone_sees_the_test_jets(asked):
    told, said = [], []
    of = asked(beside=SCALING)
    table = swept(of, told=told, said=said)
    assert [row["name"] for row in table["runs"]] == NAMES and table["failures"] == {}
    assert [name for name, _ in pareto_runs.logged(of.out, "stage 1")] == NAMES
    assert [name for name, _ in pareto_runs.logged(of.out, "tested")] == MEMBERS
    assert [row["name"] for row in table["runs"] if row["front"]] == MEMBERS
    assert {row["dominated_by"] for row in table["runs"]} == {None, *MEMBERS}
    assert [row["test"] is not None for row in table["runs"]] == [row["front"] for row in table["runs"]]
    assert [len(early["runs"]) for early in told] == [0, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6] and told[-1] == table
    assert "the front has 3 runs, 3 of them not tested" in said and said[0] == "0 of 6 runs are finished"
    assert [row["bits"] for row in table["beside"]] == [8, 6, 4]
    assert {row["model"][:-5] for row in table["beside"]} == {"jet_deepsets_n8"}


def test_a_second_start_runs_nothing_and_more_seeds_are_run_alone(asked):
    of = asked()
    first = swept(of)
    before = pareto_runs.logged(of.out, "begin")
    assert swept(of) == first and pareto_runs.logged(of.out, "begin") == before
    longer = swept(asked((1, 2, 3)))
    new = [name for name, _ in pareto_runs.logged(of.out, "begin")][len(before) :]
    assert len(longer["runs"]) == 9 and new == ["3e-08_seed3", "1e-07_seed3", "1e-06_seed3"]


def test_a_stage_that_changed_is_run_anew(asked, file):
    of = asked((1,))
    swept(of)
    file.write_text(KNOB.replace("epochs = 1", "epochs = 2"))
    swept(asked((1,)))
    assert len(pareto_runs.logged(of.out, "end")) == 2 * (3 + 3)


@pytest.mark.slow
def test_runs_that_were_not_measured_are_measured_when_that_is_asked_for(asked):
    assert swept(asked())["lut_stage"] == "estimated"
    plan = FirmwarePlan(to=("rtl",))
    table = swept(asked(measurement=plan))
    assert (table["lut_stage"], table["cycles_stage"]) == ("synthesised", "simulated")
    assert all(row["compared_lut"] == row["lut"] == 2 * row["lut_estimate"] for row in table["runs"])
    ended = len(pareto_runs.logged(asked().out, "end"))
    swept(asked(measurement=plan))
    swept(asked())  # measured ones are finished for a sweep that asks for less
    assert len(pareto_runs.logged(asked().out, "end")) == ended


def test_a_run_that_fails_says_why_and_is_tried_again_and_the_test_jets_wait_for_it(asked):
    of = asked()
    of.out.mkdir()
    (of.out / "pareto.json").write_text("{}")
    fails = of.out / f"fail_{NAMES[3]}"
    fails.touch()
    table = swept(of)
    assert list(table["failures"]) == [NAMES[3]] and len(table["runs"]) == 5
    assert not pareto_runs.logged(of.out, "tested")
    with pytest.raises(ToolError, match=f"pareto: 1 of 6 runs are not finished: {NAMES[3]}: training diverged"):
        pareto.require_finished(table)
    fails.unlink()
    again = swept(of)
    pareto.require_finished(again)
    assert [name for name, _ in pareto_runs.logged(of.out, "begin")][6] == NAMES[3] and len(again["runs"]) == 6


def test_a_measurement_that_fails_is_told(asked, monkeypatch):
    def failing(job, say, progress, command):
        table = pareto_runs.table_of(job)
        table["rows"][-1]["measured"] |= {"failures": ["rtl: verify: 3 outputs differ"]}
        job.out.mkdir(parents=True)
        (job.out / TABLE).write_text(json.dumps(table))
        return table

    monkeypatch.setattr(pareto, "run", failing)
    table = swept(
        asked((1,), measurement=FirmwarePlan()), work=lambda job: pareto.complete(job, "", print, pareto_runs.quiet)
    )
    assert len(table["failures"]) == 3 and set(table["failures"].values()) == {"rtl: verify: 3 outputs differ"}


def test_dominated_runs_lose_their_stages_and_keep_their_tables(asked):
    said = []
    of = asked(prune=True)
    table = swept(of, said=said)
    for row in table["runs"]:
        kept = {path.name for path in (of.out / row["name"]).iterdir()}
        assert kept == ({TABLE, "1_frugal", "2_untie", "model"} if row["front"] else {TABLE})
        assert row["pruned"] != row["front"]
    assert f"{NAMES[1]}: dominated by {NAMES[0]}, its stages are removed" in said
    ended = len(pareto_runs.logged(of.out, "end"))
    assert swept(asked())["runs"] == table["runs"] and len(pareto_runs.logged(of.out, "end")) == ended


def test_two_that_carry_out_one_order_run_it_once(asked):
    of = asked((1,))
    (of.out / ".locks").mkdir(parents=True)
    _, job = of.jobs()[NAMES[0]]
    (of.out / f"wait_{NAMES[0]}").touch()
    both = [threading.Thread(target=pareto_runs.work, args=(job,)) for _ in range(2)]
    for one in both:
        one.start()
    time.sleep(0.2)
    (of.out / "done").touch()
    for one in both:
        one.join()
    assert len(pareto_runs.logged(of.out, "begin")) == len(pareto_runs.logged(of.out, "end")) == 1


def test_what_no_worker_wrote_here_is_not_on_a_shared_file_system(asked, monkeypatch):
    monkeypatch.setattr(pareto, "VISIBLE_S", 0.1)
    with pytest.raises(ToolError, match=r"3e-08_seed1: its worker says that it is finished, but .* all workers share"):
        swept(asked(), work=pareto_runs.quiet)


# What is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1, 2)])
def test_seeds_are_different_whole_numbers(asked, seeds):
    with pytest.raises(UsageError, match=r"--seeds must be different whole numbers, 0\.\.2147483647, such"):
        asked(seeds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (KNOB[: KNOB.index("[knob]")], r"it has no \[knob\] to turn; state stage, key and values"),
        (KNOB.replace("lut_cost", "teacher").replace("3e-8, 1e-7, 1e-6", "['a/b'], ['a:b']"), "two values have the"),
    ],
)
def test_a_knob_has_values_of_different_names(asked, file, text, message):
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        asked()


def test_a_values_name_is_fit_for_a_folder():
    assert [pareto.label(value) for value in (3e-7, 4, True, "bit", "a/b", "", [1, 2], {"phi": 6})] == [
        "3e-07", "4", "true", "bit", "a-b", "-", "-1,2-", "--phi--6-",
    ]  # fmt: skip


def test_a_folder_that_is_not_a_fronts_and_a_model_that_is_none_are_refused(asked, tmp_path):
    of = asked()
    of.out.mkdir()
    (of.out / "thesis.tex").write_text("dear reader")
    with pytest.raises(UsageError, match=r"is not a front of ours \(pareto.json is not in it\)"):
        swept(of)
    shutil.rmtree(of.out)
    with pytest.raises(ModelError, match=r"expected a model's folder with card\.json"):
        swept(pareto.KnobSweep(tmp_path, of.pipeline, of.data, None, of.out, (1,)))


@pytest.mark.parametrize("text", ["{", "{}", '{"rows": [{"family": "jet_deepsets"}]}', '{"rows": ["x"]}', None])
def test_what_is_no_scaling_table_is_refused(asked, tmp_path, text):
    path = tmp_path / "scaling.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ProjectError, match=r"expected a table of `edgephys scaling` in JSON, found .* leave --beside"):
        swept(asked(beside=path))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "1,x"], "--seeds must be different whole numbers, 0..2147483647, such as 1,2,3, not '1,x'"),
        (["--seeds", "1", "--workers", "0"], "--workers must be 1 or more, not 0"),
        (
            ["--seeds", "1", "--workers", "2", "--scheduler", "tcp://x:1"],
            "--scheduler has workers of its own",
        ),
        (["--seeds", "1", "--measure", "--synth-seconds", "0"], "--synth-seconds must be over 0, not 0"),
        ([], "Missing option '--seeds'"),
    ],
)
def test_the_command_refuses_in_one_line(run, file, tmp_path, words, message):
    refused = run("pareto", MODEL, file, "--data", SAMPLE, "--out", tmp_path / "out", *words)
    assert refused.status == 2 and message in refused.err and len(refused.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_sweeps_writes_and_shows(run, file, tmp_path, monkeypatch):
    monkeypatch.setattr(pareto, "run", pareto_runs.pretend)
    file.write_text(KNOB.replace("3e-8, 1e-7, 1e-6", "1e-7"))
    out = tmp_path / "out"
    words = ["pareto", MODEL, file, "--data", file, "--out", out, "--seeds", "1,2", "--beside", SCALING]
    done = run(*words)
    assert done.status == 0 and "2 of 2 runs are finished, 1 of them are on the front" in done.out
    again = run(*words, "--json")
    assert "2 of 2 runs are finished" in again.err and again.json == json.loads((out / "pareto.json").read_text())
    assert {path.suffix for path in out.glob("pareto.*")} == {".json", ".md", ".csv", ".tex", ".png"}
    (out / "fail_1e-07_seed2").touch()
    shutil.rmtree(out / "1e-07_seed2")
    failed = run(*words)
    assert failed.status == 1 and "pareto: 1 of 2 runs are not finished: 1e-07_seed2: training diverged" in failed.err


@pytest.mark.slow
def test_a_measured_front_of_real_runs_is_synthesised_and_tested(run, few_jets, file, tmp_path):
    model = pareto_runs.small_tagger(few_jets, tmp_path / "small")
    file.write_text(KNOB.replace("3e-8, 1e-7, 1e-6", "1e-8"))
    words = ["pareto", model, file, "--data", few_jets, "--out", tmp_path / "out", "--seeds", "1", "--measure"]
    done = run(*words, "--json")
    assert done.status == 0, done.err
    (row,) = done.json["runs"]
    assert (done.json["lut_stage"], done.json["cycles_stage"]) == ("synthesised", "simulated") and row["lut"] > 0
    assert row["front"] and row["test"]["jets"] == json.loads((model / "card.json").read_text())["metrics"]["jets"]
    table = json.loads((tmp_path / "out" / "1e-08_seed1" / TABLE).read_text())
    assert ["measured" in stage for stage in table["rows"]] == [False, False, True]
    assert "epoch" not in run(*words).err
