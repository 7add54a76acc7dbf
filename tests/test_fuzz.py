"""The fuzz program runs on every target, and prints the seed of a graph that a target computes otherwise."""

import fuzz
import numpy as np
import pytest


@pytest.mark.parametrize("name", ["c", "onnx", pytest.param("rtl", marks=pytest.mark.slow)])
def test_a_graph_of_a_seed_is_exact_or_refused(name, capsys):
    counts = fuzz.fuzz(11, 0.0, [name])[name]
    assert not counts.failures and counts.exact + counts.refusals.total() == 1, capsys.readouterr().out


def test_a_target_that_computes_other_integers_is_a_failure_with_its_seed(monkeypatch, capsys):
    def wrong(drawn, folder, options):
        return {fuzz.OUTPUT: np.full((len(drawn.vectors), *drawn.graph.output.shape), 1 << 61)}

    monkeypatch.setitem(fuzz.TARGETS, "onnx", fuzz.Target(fuzz.onnx_options, wrong))
    assert len(fuzz.fuzz(11, 0.0, ["onnx"])["onnx"].failures) == 1
    assert "again: python tests/fuzz.py --seed 11 --target onnx" in capsys.readouterr().out
