"""Single faults in emitted sources are caught, or proven to change nothing; the score would say otherwise."""

import numpy as np
import pytest
from mutants_of_tables import of_tables
from mutants_of_text import Mutant, writer
from mutate import KINDS, KINDS_OF_TABLES, Emitted, drawn, joined, score, table
from mutation_graphs import FAMILIES, WITH_TABLES, every_input

from edgephys.graph import evaluate
from edgephys.report import render


@pytest.mark.parametrize(
    ("target", "count"),
    [
        pytest.param("c", 12, marks=pytest.mark.slow),
        ("onnx", 60),
        pytest.param("hls", 12, marks=pytest.mark.slow),
        pytest.param("rtl", 12, marks=pytest.mark.slow),
    ],
)
def test_no_fault_of_a_small_run_survives(target, count):
    rows, survivors = score(target, count, 1, lambda text: None)
    assert survivors == [] and sum(row["mutants"] for row in rows) == count
    assert sum(row["caught"] for row in rows) > count / 2


@pytest.mark.parametrize(
    ("target", "count"),
    [
        pytest.param("c", 12, marks=pytest.mark.slow),
        ("onnx", 20),
        pytest.param("hls", 8, marks=pytest.mark.slow),
        pytest.param("rtl", 8, marks=pytest.mark.slow),
    ],
)
def test_no_fault_of_a_table_in_a_small_run_survives(target, count):
    rows, survivors = score(target, count, 1, lambda text: None, WITH_TABLES)
    assert survivors == [] and sum(row["mutants"] for row in rows) == count
    assert {row["kind"] for row in rows} == set(KINDS_OF_TABLES)
    assert sum(row["caught"] for row in rows) > count / 2


@pytest.mark.parametrize("family", WITH_TABLES)
@pytest.mark.parametrize("target", ["c", "hls", "onnx"])
def test_every_entry_of_the_tables_is_a_place_of_a_fault(target, family, tmp_path):
    emitted = Emitted(family, target, tmp_path / "emitted")
    entries = sum(node.op.constant.integers.size for node in emitted.graph.nodes if node.op.word == "lookup")
    texts = [mutant.text for mutant in of_tables(target, emitted.folder / "firmware") if mutant.kind == "table entry"]
    assert len(texts) >= 2 * entries


@pytest.mark.parametrize("target", ["c", "hls", "rtl", "onnx"])
def test_faults_of_every_kind_are_drawn(target, tmp_path):
    emitted = Emitted("interaction", target, tmp_path / "emitted")
    assert {mutant.kind for mutant in drawn(emitted, 80, np.random.default_rng(0))} == set(KINDS)


@pytest.mark.parametrize(("ending", "stored"), [(".c", "(int8_t)v"), ("_batch.c", "(int16_t)v")])
def test_a_fault_that_the_vectors_miss_has_survived_and_one_that_changes_nothing_is_equivalent(
    ending, stored, tmp_path, monkeypatch
):
    emitted = Emitted("mlp", "c", tmp_path / "emitted")
    source = emitted.folder / "firmware" / f"{emitted.facts['prefix']}{ending}"
    text = source.read_text()
    last = text.rindex(stored)
    wrong = f"{text[:last]}{stored.replace('v', '-v')}{text[last + len(stored) :]}"
    monkeypatch.setattr(Emitted, "is_caught", lambda self, folder: False)
    for name, changed, verdict in (("wrong", wrong, "survived"), ("same", text + "\n", "equivalent")):
        mutant = Mutant(source.name, "1", "sign", "", "", writer(source.name, changed))
        assert emitted.verdict(mutant, tmp_path / name) == verdict


def test_a_source_that_does_not_compile_is_caught(tmp_path):
    emitted = Emitted("mlp", "c", tmp_path / "emitted")
    source = next((emitted.folder / "firmware").glob("*.c"))
    mutant = Mutant(source.name, "1", "sign", "", "", writer(source.name, source.read_text() + "int;;)"))
    assert emitted.verdict(mutant, tmp_path / "wrong") == "caught"


@pytest.mark.parametrize("family", [*FAMILIES, *WITH_TABLES])
def test_every_input_of_a_family_is_computed_and_its_outputs_vary(family):
    graph = {**FAMILIES, **WITH_TABLES}[family]()
    x = every_input(graph)
    assert len(np.unique(x.reshape(len(x), -1), axis=0)) == len(x) == 65_536
    outputs = evaluate.run(graph, x).reshape(len(x), -1)
    assert all(len(np.unique(column)) > 1 for column in outputs.T)


def test_the_table_states_the_sums_and_names_the_survivors(tmp_path):
    row = {"target": "c", "kind": "shift", "mutants": 3, "caught": 1, "equivalent": 1, "survived": 1}
    record = {
        "command": "python tests/mutate.py",
        "machine": "m",
        "rows": [row],
        "survivors": ["c, mlp, shift: a -> b"],
    }
    page = render.page(table(record), "mutation")
    assert "In all 3: 1 caught, 1 equivalent, 1 survived." in page and "c, mlp, shift: a -> b" in page


def test_rows_of_an_earlier_run_stay_unless_they_are_counted_anew():
    def row(target, kind, mutants):
        return {"target": target, "kind": kind, "mutants": mutants, "caught": mutants, "equivalent": 0, "survived": 0}

    first = {
        "command": "a",
        "machine": "m",
        "rows": [row("c", "shift", 3), row("c", "table entry", 4), row("rtl", "shift", 5)],
        "survivors": ["c, mlp, shift: x -> y", "c, softmax, table entry: 1 -> 2"],
    }
    second = {
        "command": "b",
        "machine": "n",
        "rows": [row("c", "table entry", 6)],
        "survivors": ["c, softmax, table entry: 3 -> 4"],
    }
    both = joined(second, first)
    assert both["rows"] == [row("c", "shift", 3), row("c", "table entry", 6), row("rtl", "shift", 5)]
    assert both["survivors"] == ["c, mlp, shift: x -> y", "c, softmax, table entry: 3 -> 4"]
    assert both["command"] == "a` and `b" and both["machine"] == "m and n"
