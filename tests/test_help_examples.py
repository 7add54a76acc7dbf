"""Every example in every help text names files that are there, parses, and runs on small models."""

import glob
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_lines import TOP, commands, parse
from keras_models import model_of, qdense
from scaling_models import edit_card

from edgephys import cli
from edgephys.networks.backend import keras

PATHS = re.compile(r"[\w.*/-]+/[\w.*/-]+|[\w-]+\.(?:toml|py|h5|json|onnx)")
PORTS = "/dev/"
"""Begins the name of a serial port, which is no file of the repository."""
DATA_SETS = {"data/jets.h5", "data/waves.h5"}


def examples():
    """Return the example lines of every command in order, then those of the whole program."""
    texts = [*(command.help for _, command in commands()), cli.EXAMPLES]
    return [line.strip().removeprefix("Example: ") for text in texts for line in text.splitlines() if is_example(line)]


def is_example(line: str) -> bool:
    return line.strip().removeprefix("Example: ").startswith("edgephys ") and line.startswith((" ", "Example: "))


EXAMPLES = examples()


def written(line: str) -> list[str]:
    """Return the files and folders that an example writes."""
    words = shlex.split(line)
    if "--out" in words:
        return [words[words.index("--out") + 1]]
    if words[1] == "emit":
        name = Path(words[2]).name if words[2].startswith("models/zoo") else f"wave_cnn_n32_{Path(words[2]).name}"
        return [f"hls_projects/{name}_{words[words.index('--to') + 1]}"]
    return []


def test_every_command_has_an_example():
    lacking = [name for name, _ in commands() if not any(line.startswith(f"edgephys {name}") for line in EXAMPLES)]
    assert not lacking


def test_every_path_in_an_example_is_in_the_repository_or_written_by_an_example_before():
    outputs: list[str] = []
    for line in EXAMPLES:
        own = written(line)
        words = [word for word in shlex.split(line)[2:] if not word.startswith(PORTS)]
        inputs = [word for word in words if PATHS.fullmatch(word) and word not in own]
        for path in inputs:
            before = any(path == output or path.startswith(f"{output}/") for output in outputs)
            assert before or glob.glob(str(TOP / path)), f"{line}: no {path}"
        outputs += own


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_file_that_the_help_of_an_option_names_is_in_the_repository(name, command):
    for parameter in command.params:
        for path in PATHS.findall(parameter.help or ""):
            if path.endswith((".toml", ".py")):
                assert (TOP / path).is_file(), f"{name} {parameter.name}: no {path}"


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_example_parses(line):
    parse(line)


# Run ----------------------------------------------------------------------------------------------

SMALLER = {
    "--jets-per-class 20000": "--jets-per-class 60",
    "--runs 256": "--runs 4 --grid 32",
    "--set constituents=16 --set bits=8": "--set constituents=2 --set bits=4 --set epochs=1 --set phi=2 --set rho=2",
    "--set bits=6": "--set bits=4 --set constituents=2 --set epochs=1 --set phi=2 --set rho=2 --set batch=2048",
    "models/jet_tables.py": "models/jet_tables.py --set constituents=2 --set phi=2 --set rho=2 --set epochs=1",
    "--clock-ns 20 --out": "--clock-ns 60 --cutoffs 30 --vectors 20 --device 25k --out",
    "--seeds 1,2,3": "--seeds 1",
    "quantise model.keras": "quantise float.keras",
    "hls_projects/jet_deepsets_n8_8bit_onnx": "hls_projects/jet_deepsets_n8_8bit_onnx --seconds 1 --rounds 3",
}
"""What is shortened in the examples, which else stay as they are; networks are small ones of the same names."""
TRAINED = {
    "models/zoo/jet_deepsets_n8_8bit": "train models/jet_deepsets.py --data models/samples/jets.h5 "
    "--set constituents=2 --set phi=2 --set rho=2 --set bits=4 --set epochs=1 --set batch=1024",
    **{
        f"models/waves/{name}": f"train models/wave_cnn.py --data models/samples/waves.h5 --set format={form} "
        "--set width=2 --set depth=1 --set kernel_size=3 --set bits=4 --set every=8 --set epochs=1"
        for name, form in (("cp12_8bit", "one_way"), ("full_8bit", "full"))
    },
}
"""Small networks that stand for those of the repository."""
PREPARED = {
    "edgephys compare": "edgephys report hls_projects/jet_deepsets_n8_8bit_hls",
    "edgephys waves": "edgephys waves models/waves/full_8bit --data data/waves.h5 --out hls_projects/results/waves",
}
"""Commands that run before an example: the report that `compare` reads, and an earlier table of the same data."""
NAMES = {name: f"wave_cnn_n32_{name}" for name in ("cp12_8bit", "full_8bit")}
"""Names of networks that are not those of their folders."""


@pytest.fixture
def scratch(run, few_jets, tmp_path, monkeypatch):
    """Go to a copy of the repository with small networks and data."""
    for name in ("hls_projects/results", "compress"):
        shutil.copytree(TOP / name, tmp_path / name, ignore=shutil.ignore_patterns("*.png", "*.gif"))
    for path in (*TOP.glob("models/*.py"), *TOP.glob("examples/*.py"), TOP / "models" / "samples" / "waves.h5"):
        target = tmp_path / path.relative_to(TOP)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copy(few_jets, tmp_path / "models" / "samples" / "jets.h5")
    monkeypatch.chdir(tmp_path)
    for folder, line in TRAINED.items():
        assert run(*line.split(), "--out", folder).status == 0
        name = Path(folder).name
        edit_card(Path(folder), lambda card, name=name: card.update(name=NAMES.get(name, name)))
    shorten(Path("compress/frugal.toml"))
    users_files()


def users_files() -> None:
    """Write what a user brings: a quantised model, one that is not, and data for both."""
    model_of((4,), qdense(3, "dense")).save("model.keras")
    model_of((4,), keras.layers.Dense(3, name="dense")).save("float.keras")
    rng = np.random.default_rng(0)
    np.savez("mine.npz", x=rng.uniform(-2, 2, (40, 4)), y=rng.integers(0, 3, 40))


def shorten(pipeline: Path) -> None:
    """Keep the first stage of a pipeline, for an epoch, and two values of its knob."""
    stages, knob = pipeline.read_text().split("[knob]")
    first = re.sub(r"epochs = \d+", "epochs = 1", stages.split("[[stage]]")[1])
    knob = re.sub(r"(values = \[[^,]*, [^,\]]*)[^\]]*", r"\1", knob)
    pipeline.write_text(f"[[stage]]{first}[knob]" + re.sub(r"stage = \d+", "stage = 1", knob))


def small(line: str) -> list[str]:
    """Return the words of an example, shortened, its patterns expanded as a shell does."""
    for old, new in SMALLER.items():
        line = line.replace(old, new)
    words = shlex.split(line)[1:]
    return [path for word in words for path in (sorted(glob.glob(word)) if "*" in word else [word])]


def prepared(example: str) -> list[str]:
    return [step for command, step in PREPARED.items() if example.startswith(command)]


TIMED = ("edgephys pace", "edgephys dispersion", "edgephys board ", "edgephys run-board", "edgephys bitstreams")
"""Examples that time, solve or route for minutes, or need a board: test_pace, test_dispersion and test_board_builds run
these commands; here they are parsed."""


@pytest.mark.slow
def test_the_examples_run_in_the_order_of_the_help(scratch, run):
    examples = [example for example in EXAMPLES if not example.startswith(TIMED)]
    for line in [step for example in examples for step in (*prepared(example), example)]:
        ended = run(*small(line))
        assert ended.status == 0, f"{line}: {ended.err}"
