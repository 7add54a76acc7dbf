"""The commands of the page for users of hls4ml run, in its order, on a small model."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from keras_models import activation, model_of, qdense

from edgephys.networks.backend import keras

PAGE = Path(__file__).parent.parent / "docs" / "from_hls4ml.md"
COMMANDS = re.findall(r"^    (edgephys .*)$", PAGE.read_text(), re.MULTILINE)
SHORT = {"bench": ("--seconds", "1", "--rounds", "3")}


def test_the_page_has_ten_steps_with_hls4mls_words_and_ours():
    steps = re.split(r"\n\*\*(?=\d+\. )", PAGE.read_text())[1:]
    assert [int(step.split(".")[0]) for step in steps] == list(range(1, 11))
    assert all("hls4ml: " in step and re.search(r"Here: ?|Not here yet: ", step) for step in steps)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", PAGE.read_text()))
def test_a_link_of_the_page_leads_to_a_file(link):
    assert (PAGE.parent / link).is_file()


@pytest.mark.slow
def test_every_command_of_the_page_runs_in_its_order(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relu = activation("quantized_relu(4, 2)", "relu")
    model_of((4,), qdense(3, "hidden"), relu, qdense(3, "logits")).save("model.keras")
    model_of((4,), keras.layers.Dense(3, name="logits")).save("float.keras")
    generator = np.random.default_rng(0)
    np.savez("mine.npz", x=generator.uniform(-2, 2, (60, 4)), y=generator.integers(0, 3, 60))
    assert len(COMMANDS) >= 15
    for line in COMMANDS:
        words = shlex.split(line)[1:]
        ended = run(*words, *SHORT.get(words[0], ()))
        assert ended.status == 0, f"{line}: {ended.err}"
