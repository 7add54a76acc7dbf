"""Finished pipelines in one table: what is compared is of one stage; the cost model's error is measured."""

import json

import numpy as np
import pytest

from edgephys.compress.gains import adder_bits, ebops
from edgephys.core.errors import ProjectError
from edgephys.core.fixed import Fixed
from edgephys.graph.build import Builder
from edgephys.report import render
from edgephys.report.compression import table as declared
from edgephys.report.gains import tabulate


def page(record):
    return render.page(declared(record), "compression")


SYNTHESISED = {"lut_stage": "synthesised", "ff": 10, "latency_cycles_stage": "simulated", "mismatches": 0, "vectors": 9}


def stage(name, lut, bits, measured=True):
    row = {"stage": name, "digest": name * 4, "weights": 99, "nonzero": 50, "digits": 70, "ebops": 800, "seconds": 2.5}
    row |= {"adder_bits": bits, "lut_estimate": lut, "cycles_estimate": 9, "bought_lut": 5}
    row |= {"metrics": {"accuracy": 0.57, "accuracy_error": 0.004}}
    return row | ({"measured": {"lut": lut, "latency_cycles": 8, **SYNTHESISED}} if measured else {})


def finished(folder, rows, n=8, seed=1, **more):
    folder.mkdir()
    table = {"model": "m", "family": "jet_deepsets", "n": n, "features": 3, "pipeline": "frugal", "seed": seed}
    metrics = {"accuracy": 0.575, "accuracy_error": 0.002, "auc": {"g": 0.8}}
    (folder / "compression.json").write_text(json.dumps({**table, "rows": rows, "metrics": metrics, **more}))
    return folder


@pytest.fixture
def zoo(tmp_path):
    """A scaling table of a uniform model of 8 constituents and of one that no pipeline had."""
    row = {"family": "jet_deepsets", "features": 3, "bits": 8, "accuracy": 0.58, "accuracy_error": 0.002, **SYNTHESISED}
    rows = [{**row, "model": f"n{n}", "n": n, "lut": 1000, "latency_cycles": 16} for n in (8, 64)]
    path = tmp_path / "scaling.json"
    path.write_text(json.dumps({"rows": rows}))
    return path


def test_a_measured_run_stands_beside_the_uniform_models_of_its_network(tmp_path, zoo):
    run = finished(tmp_path / "run", [stage("start", 1000, 1250), stage("1 frugal", 100, 125)])
    table = tabulate([run], [zoo], "edgephys gains")
    assert [(row["pipeline"], row["n"]) for row in table["rows"]] == [("uniform", 8), ("frugal", 8)]
    ours = table["rows"][1]
    assert ours["lut_times"] == pytest.approx(10) and ours["latency_share"] == pytest.approx(0.5)
    assert ours["accuracy_difference"] == pytest.approx(-0.005) and ours["seconds"] == 5
    assert {"model", "n", "pipeline", "seed", "accuracy", "lut", "lut_stage", "latency_cycles", "mismatches"} <= set(
        ours
    )


def test_seeds_of_one_pipeline_are_averaged_and_others_are_not(tmp_path, zoo):
    runs = []
    for seed, accuracy in ((1, 0.57), (2, 0.58), (3, 0.59)):
        rows = [stage("start", 1000, 1250), stage("1 frugal", 100 + seed, 125)]
        metrics = {"accuracy": accuracy, "accuracy_error": 0.002, "auc": {}}
        runs.append(finished(tmp_path / f"run{seed}", rows, seed=seed))
        table = json.loads((runs[-1] / "compression.json").read_text())
        (runs[-1] / "compression.json").write_text(json.dumps({**table, "metrics": metrics}))
    table = tabulate(runs, [zoo], "edgephys gains")
    (mean,) = table["over_seeds"]
    assert (mean["pipeline"], mean["seeds"], mean["lut"]) == ("frugal", [1, 2, 3], 102)
    assert mean["accuracy"] == pytest.approx(0.58) and mean["accuracy_deviation"] == pytest.approx(0.01)
    assert "| frugal | 1, 2, 3 | 58.00 ± 1.00 | +0.00 | 51 | 102 | 9.8 times | 8 | 0 |" in page(table)
    assert "No pipeline was run with several seeds" in page(tabulate(runs[:1], [zoo], "edgephys gains"))


def test_luts_over_seeds_are_those_of_the_synthesised_ones_and_the_page_says_which(tmp_path, zoo):
    runs = [
        finished(
            tmp_path / f"run{seed}", [stage("start", 1000, 1250), stage("1 frugal", lut, 125, seed == 2)], seed=seed
        )
        for seed, lut in ((1, 90), (2, 100))
    ]
    table = tabulate(runs, [zoo], "edgephys gains")
    (mean,) = table["over_seeds"]
    assert (mean["lut"], mean["lut_seeds"]) == (100, [2]) and mean["lut_times"] == pytest.approx(10)
    assert "| 100 (seed 2) | 10.0 times |" in page(table)


def test_a_folder_of_runs_gives_all_of_them_and_the_page_has_the_stages_of_each_pipelines_first_seed(tmp_path, zoo):
    (tmp_path / "runs").mkdir()
    ranked = {"local_rank": {"phi_1": 24.0}}
    for seed in (3, 2):
        rows = [stage("start", 1000, 1250) | ranked, stage("1 frugal", 100 + seed, 125) | ranked]
        finished(tmp_path / "runs" / f"run{seed}", rows, seed=seed)
    table = tabulate([tmp_path / "runs"], [zoo], "edgephys gains runs")
    assert [row["seed"] for row in table["rows"]] == [1, 3, 2] and len(table["stages"]) == 4
    text = page(table)
    assert "| m | frugal | 2 | 1 frugal |" in text and "| m | frugal | 3 | 1 frugal |" not in text
    assert text.count("phi_1 24.0 | phi_1 24.0") == 1


def test_an_estimate_is_not_compared_with_a_synthesis(tmp_path, zoo):
    run = finished(tmp_path / "run", [stage("start", 1000, 1250, False), stage("1 frugal", 100, 125, False)])
    table = tabulate([run], [zoo], "edgephys gains")
    assert table["rows"][1]["lut_stage"] == "estimated" and table["rows"][1]["lut_times"] is None
    assert "100 (estimated)" in page(table) and "not compared with LUTs" in page(table)


def test_the_cost_models_error_is_that_of_netlists_predicted_from_the_others(tmp_path):
    runs = [finished(tmp_path / f"run{i}", [stage(f"{i} a", lut, 100)], seed=i) for i, lut in enumerate((80, 80, 100))]
    found = tabulate(runs, [], "edgephys gains")["cost_model"]
    assert found["rows"] == 3 and found["ratio_median"] == pytest.approx(0.8)
    assert found["leave_one_out"]["relative_error_min"] == pytest.approx(-0.2)
    assert "0.80 of them in the median of 3 netlists (0.80 to 1.00)" in page(tabulate(runs, [], "edgephys gains"))


def test_every_stage_is_on_the_page(tmp_path, zoo):
    run = finished(tmp_path / "run", [stage("start", 1000, 1250), stage("1 frugal", 100, 125)])
    text = page(tabulate([run], [zoo], "edgephys gains"))
    assert "| m | frugal | 1 | 1 frugal | 57.00 ± 0.40 | 50 | 70 | 800 | 125 | 100 | 8 | 2 |" in text
    assert "10.0 times" in text and "8 bit, uniform" in text


def test_a_run_that_is_not_finished_is_refused(tmp_path):
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "compression.json").write_text('{"rows": []}')
    with pytest.raises(ProjectError, match="half: its pipeline is not finished; start the same"):
        tabulate([tmp_path / "half"], [], "edgephys gains")


@pytest.mark.parametrize("text", ["", "[]", '{"rows": 3}', '{"columns": []}'])
def test_a_damaged_table_is_refused_by_name(tmp_path, text):
    (tmp_path / "scaling.json").write_text(text)
    with pytest.raises(ProjectError, match=r"scaling.json: expected a table in JSON with rows, .*; make it again"):
        tabulate([], [tmp_path / "scaling.json"], "edgephys gains")


def test_operations_and_adders_are_counted_by_hand():
    """Weights 5 and 6 on 4-bit data: 101 spans 3 bits, 11 spans 2; each has 2 signed digits."""
    builder = Builder("two")
    x = builder.input("x", (2, 1), Fixed(True, 4, 4))
    out = builder.dense("both", x, np.array([[5, 6]]), 0)
    graph = builder.finish(out)
    assert ebops(graph) == 2 * 4 * (3 + 2)
    assert adder_bits(graph) == {"both": 2 * (4 + 1) * (2 + 2)}
