"""Single faults in emitted sources are caught, or proven to change nothing; the score would say otherwise."""

import numpy as np
import pytest
from mutate import KINDS, Emitted, Mutant, drawn, score, table, writer
from mutation_graphs import FAMILIES, every_input

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


@pytest.mark.parametrize("target", ["c", "hls", "rtl", "onnx"])
def test_faults_of_every_kind_are_drawn(target, tmp_path):
    emitted = Emitted("interaction", target, tmp_path / "emitted")
    assert {mutant.kind for mutant in drawn(emitted, 80, np.random.default_rng(0))} == set(KINDS)


def test_a_fault_that_the_vectors_miss_has_survived_and_one_that_changes_nothing_is_equivalent(tmp_path, monkeypatch):
    emitted = Emitted("mlp", "c", tmp_path / "emitted")
    source = next((emitted.folder / "firmware").glob("*.c"))
    text = source.read_text()
    last = text.rindex("(int8_t)v")
    wrong = f"{text[:last]}(int8_t)-v{text[last + 9 :]}"
    monkeypatch.setattr(Emitted, "is_caught", lambda self, folder: False)
    for name, changed, verdict in (("wrong", wrong, "survived"), ("same", text + "\n", "equivalent")):
        mutant = Mutant(source.name, "1", "sign", "", "", writer(source.name, changed))
        assert emitted.verdict(mutant, tmp_path / name) == verdict


def test_a_source_that_does_not_compile_is_caught(tmp_path):
    emitted = Emitted("mlp", "c", tmp_path / "emitted")
    source = next((emitted.folder / "firmware").glob("*.c"))
    mutant = Mutant(source.name, "1", "sign", "", "", writer(source.name, source.read_text() + "int;;)"))
    assert emitted.verdict(mutant, tmp_path / "wrong") == "caught"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_input_of_a_family_is_computed_and_its_outputs_vary(family):
    graph = FAMILIES[family]()
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
