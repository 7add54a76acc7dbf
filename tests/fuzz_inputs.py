"""Give the command line malformed files and words: it ends with 0, 1 or 2, and with one clear line where it refuses.

    python tests/fuzz_inputs.py --cases 500 --seed random    new cases, each of a seed of its own
    python tests/fuzz_inputs.py --seed 123                   one case again

The cases run one after another in a second process, so that one which never ends (LIMIT_S) or kills its process is a
failure too. A failure prints the seed, the command and what was printed, and the program ends with status 1.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import queue
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
from malformed import NUMBERS, WORDS, spoil

TOP = Path(__file__).parent.parent
SAMPLES = TOP / "models" / "samples"
RESULTS = TOP / "hls_projects" / "results"
LIMIT_S = 60.0
LOAD_S = 300.0
"""Seconds for the first line of a process, which loads Keras and makes the files that are spoiled."""
MOST_FAILURES = 10
SEEDS = 1 << 40
LONGEST_LINE = 2500


KINDS = ("c", "hls", "qonnx", "rtl")
"""Targets of which a project of its own is prepared, beside the one for ONNX."""
OF_A_PROJECT = (("verify",), ("report", "--no-synth"))


@dataclass(frozen=True)
class Ended:
    """Hold how a command ended."""

    status: int | None
    out: str
    err: str


@dataclass(frozen=True)
class Command:
    """State a command, and the files of which one is spoiled: ``words`` and ``files`` are relative to the case."""

    words: tuple[str, ...]
    files: tuple[str, ...]


COMMANDS = (
    Command(("explain", "tagger"), ("tagger/card.json", "tagger/model.keras", "tagger/held_out.npz")),
    Command(("explain", "imported"), tuple(f"imported/{name}" for name in ("card.json", "graph.json", "held_out.npz"))),
    Command(("emit", "tagger", "--to", "c", "--out", "out"), ("tagger/model.keras", "tagger/held_out.npz")),
    Command(("emit", "imported", "--to", "onnx", "--out", "out"), ("imported/graph.json", "imported/model.onnx")),
    Command(("emit", "imported", "--to", "rtl", "--out", "out"), ("imported/graph.json",)),
    Command(("import", "file.onnx", "--out", "out"), ("file.onnx",)),
    Command(("import", "file.onnx", "--out", "out", "--vectors", "vectors.npz"), ("vectors.npz",)),
    Command(("quantise", "float.keras", "--data", "mine.npz", "--out", "out"), ("float.keras", "mine.npz")),
    Command(("verify", "project"), ("project/edgephys.json", "project/graph.json", "project/vectors.npz")),
    Command(("verify", "project"), ("project/model/card.json", "project/firmware/model.onnx")),
    *(Command((*words, f"as_{kind}"), (f"as_{kind}/edgephys.json",)) for kind in KINDS for words in OF_A_PROJECT),
    Command(("verify", "project", "--data", "jets.h5", "--limit", "5"), ("jets.h5",)),
    Command(("report", "project"), ("project/edgephys.json", "project/results/verify.json", "project/model/card.json")),
    Command(("compare", "project", "--out", "out"), ("project/results/verify.json", "project/edgephys.json")),
    Command(("score", "tagger", "--data", "jets.h5"), ("jets.h5", "tagger/card.json", "tagger/model.keras")),
    Command(("score", "waves", "--data", "waves.h5"), ("waves.h5", "waves/card.json", "waves/model.keras")),
    Command(("cards", "tagger", "--out", "out"), ("tagger/card.json",)),
    Command(("compress", "tagger", "stages.toml", "--data", "none.h5", "--out", "out"), ("stages.toml",)),
    Command(("compress", "tagger", "taught.toml", "--data", "none.h5", "--out", "out"), ("tagger/model.keras",)),
    Command(("gains", "run", "--beside", "uniform.json"), ("run/compression.json", "uniform.json")),
    Command(
        (
            "pareto",
            "tagger",
            "stages.toml",
            "--data",
            "none.h5",
            "--seeds",
            "1",
            "--out",
            "out",
            "--beside",
            "uniform.json",
        ),
        ("stages.toml", "uniform.json", "tagger/card.json"),
    ),
    Command(("waves", "waves", "--data", "waves.h5", "--steps", "2", "--starts", "2"), ("waves.h5", "waves/card.json")),
    Command(("dispersion", "waves", "--out", "out"), ("waves/card.json",)),
    Command(("emit", "waves", "--to", "c", "--vectors", "2", "--out", "out"), ("waves/card.json",)),
    Command(("agree", "tagger", "--to", "onnx", "--projects", "here"), ("tagger/card.json",)),
)
SETTINGS = (
    "seed",
    "epochs",
    "batch",
    "bits",
    "phi",
    "constituents",
    "learning_rate",
    "validation",
    "input_bits",
    "features",
)


def prepare(home: Path, call: Callable[..., Ended], kinds: Sequence[str] = KINDS) -> None:
    """Make the files that are spoiled: small models of two applications, an imported one, projects, data, tables."""
    import numpy as np
    from small_model import save_small
    from wave_model import NET, save_waves

    from edgephys.networks.backend import keras

    save_small(home / "tagger")
    save_waves(home / "waves", dataclasses.replace(NET, grid=32))
    card = json.loads((home / "waves/card.json").read_text())
    card["data"] = {"fields": {"train": 100}}
    (home / "waves/card.json").write_text(json.dumps(card))
    _few(SAMPLES / "jets.h5", home / "jets.h5", 60)
    _few(SAMPLES / "waves.h5", home / "waves.h5", 1)
    for words in (
        ("emit", home / "tagger", "--to", "qonnx", "--vectors", "20", "--out", home / "qonnx"),
        ("import", home / "qonnx/firmware/model.onnx", "--count", "50", "--out", home / "imported"),
        ("emit", home / "tagger", "--to", "onnx", "--vectors", "20", "--out", home / "project"),
        ("verify", home / "project"),
        *(("emit", home / "tagger", "--to", kind, "--vectors", "20", "--out", home / f"as_{kind}") for kind in kinds),
        *(("verify", home / f"as_{kind}") for kind in kinds),
    ):
        ended = call(*words)
        assert ended.status == 0, ended.err
    shutil.copyfile(home / "qonnx/firmware/model.onnx", home / "file.onnx")
    shutil.copyfile(home / "imported/held_out.npz", home / "vectors.npz")
    shutil.rmtree(home / "qonnx")
    layers = keras.layers
    keras.Sequential([keras.Input((4,)), layers.Dense(3, "relu"), layers.Dense(2)]).save(home / "float.keras")
    np.savez(home / "mine.npz", x=np.random.default_rng(0).normal(size=(40, 4)), y=np.arange(40) % 2)
    shutil.copyfile(RESULTS / "uniform.json", home / "uniform.json")
    (home / "run").mkdir()
    shutil.copyfile(next(RESULTS.glob("runs/*/compression.json")), home / "run/compression.json")
    shutil.copyfile(TOP / "compress" / "frugal.toml", home / "stages.toml")
    (home / "taught.toml").write_text('[[stage]]\nkind = "finetune"\nteacher = ["tagger"]\n')


def _few(source: Path, out: Path, rows: int) -> None:
    """Copy the first rows of every dataset of examples."""
    with h5py.File(source) as whole, h5py.File(out, "w") as few:
        few.attrs.update(whole.attrs)
        for name, entry in whole.items():
            examples = entry.ndim > 1 or name == "runs"
            few.create_dataset(name, data=entry[:rows] if examples else entry[:], dtype=entry.dtype)


# The cases ----------------------------------------------------------------------------------------


def case(seed: int, home: Path, folder: Path) -> tuple[list[str], str]:
    """Make the files of a seed's case in a folder; return the command line, relative to it, and what is malformed."""
    draw = random.Random(seed)
    if draw.random() < 0.3:
        return words_of(draw), "words"
    command = draw.choice([one for one in COMMANDS if (home / Path(one.files[0]).parts[0]).exists()])
    for name in {Path(word).parts[0] for word in (*command.words, *command.files)} & set(os.listdir(home)):
        source = home / name
        shutil.copytree(source, folder / name) if source.is_dir() else shutil.copyfile(source, folder / name)
    if command.words[1] == "taught.toml" or "taught.toml" in command.words:
        shutil.copyfile(home / "taught.toml", folder / "taught.toml")
    name = draw.choice(command.files)
    return list(command.words), f"{name}: {spoil(folder / name, draw)}"


def words_of(draw: random.Random) -> list[str]:
    """Return a command with options of which at least one is malformed."""
    from typer.main import get_command

    from edgephys.cli import program

    commands = get_command(program()).commands
    name = draw.choice(sorted(commands))
    command = commands[name]
    words = [name]
    if hasattr(command, "commands"):
        inner = draw.choice(sorted(command.commands))
        words.append(inner)
        command = command.commands[inner]
    for parameter in command.params:
        option = parameter.opts[0]
        if option == "--help":
            continue
        if not option.startswith("--"):
            words += [draw.choice(("none", "none", "", "/dev/null", "a\nb", "x" * 300))]
        elif getattr(parameter, "is_flag", False):
            words += [option] if draw.random() < 0.2 and option != "--json" else []
        elif parameter.required or draw.random() < 0.3:
            words += [option, _value(option, draw)]
    if name == "train":
        words += ["--set", f"{draw.choice(SETTINGS)}={_value('', draw)}"]
    if name == "data":
        words += ["--workers", "0"]  # nothing is generated
    return words


def _value(option: str, draw: random.Random) -> str:
    if option in ("--data", "--out", "--projects", "--results", "--start", "--beside", "--test-data", "--vectors"):
        return draw.choice(("none", "none/none", "/dev/null/x", "", "x" * 300, "1"))
    return str(draw.choice((*NUMBERS[:9], *NUMBERS[10:], *WORDS, "nan", "inf", "-inf", "1,2", "1" * 5000)))


def wrong(ended: Ended, folder: Path) -> str:
    """Return what is wrong with how a command ended, or nothing."""
    lines = [line for line in ended.err.splitlines() if line.startswith("edgephys: ")]
    if ended.status not in (0, 1, 2):
        return f"status {ended.status}"
    if "unforeseen" in ended.err or "Traceback" in ended.err:
        return "unforeseen"
    if "[Errno" in ended.err:
        return "an error of the system in Python's words"
    if ended.status and len(lines) != 1:
        return f"{len(lines)} lines that say why"
    if lines and (len(lines[0]) > LONGEST_LINE or not lines[0].isprintable()):
        return "a line that is too long, or not printable"
    if ended.status and any(path.name.startswith((".out", "out.part")) for path in folder.iterdir()):
        return "files left behind"
    return ""


def run_case(seed: int, home: Path, call: Callable[..., Ended]) -> tuple[str, str]:
    """Run a case; return what is wrong with it (or nothing) and what it was."""
    with tempfile.TemporaryDirectory(prefix="edgephys-fuzz-") as name:
        folder = Path(name)
        (folder / "here").mkdir()
        words, what = case(seed, home, folder)
        before = Path.cwd()
        os.chdir(folder)
        try:
            ended = call(*words)
        finally:
            os.chdir(before)
        failure = wrong(ended, folder)
    shown = " ".join(repr(word[:100]) if not word.isalnum() else word for word in words)
    return failure and f"{failure}\n{ended.err[-3000:]}", f"{what}; edgephys {shown}; status {ended.status}"


def in_this_process(*words: object) -> Ended:
    """Run the command line in this process."""
    from edgephys import cli

    sys.argv = ["edgephys", *map(str, words)]
    out, err = io.StringIO(), io.StringIO()
    status: int | None = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as ended:
            status = ended.code or 0
        except BaseException:
            err.write(traceback.format_exc())
            status = None
    return Ended(status, out.getvalue(), err.getvalue())


# The program --------------------------------------------------------------------------------------


def work(first: int, count: int, home: Path) -> None:
    """Run cases in this process, and print a line of JSON before and after each."""
    terminal = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for seed in range(first, first + count):
        print(json.dumps({"seed": seed}), file=terminal, flush=True)
        try:
            failure, what = run_case(seed, home, in_this_process)
        except Exception:
            failure, what = traceback.format_exc(), "the case could not be made; status None"
        print(json.dumps({"seed": seed, "failure": failure, "what": what}), file=terminal, flush=True)


class Worker:
    """Run cases in a process, whose lines are read with a time limit."""

    def __init__(self, first: int, count: int, home: Path) -> None:
        words = [sys.executable, __file__, "--work", str(home), "--seed", str(first), "--cases", str(count)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def line(self, limit_s: float) -> dict | None:
        """Return the next line; None where there is none, or none in time."""
        with contextlib.suppress(queue.Empty):
            text = self.lines.get(timeout=limit_s)
            return json.loads(text) if text else None
        return None

    def close(self) -> int | None:
        """End the process; return its status, None where it was still running."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(timeout=2)
        self.process.kill()
        self.process.wait()
        return None


def fuzz(first: int, count: int, home: Path) -> int:
    """Run the cases of the seeds from ``first`` on; print every failure at once, return how many there are."""
    seed, failures, endings, slowest = first, 0, Counter(), (0.0, first)
    start = time.monotonic()
    while seed < first + count and failures < MOST_FAILURES:
        worker, limit_s = Worker(seed, first + count - seed, home), LOAD_S
        while seed < first + count and failures < MOST_FAILURES:
            begun, began = worker.line(limit_s), time.monotonic()
            done = worker.line(LIMIT_S if limit_s < LOAD_S else LOAD_S) if begun else None
            limit_s, seconds = LIMIT_S, time.monotonic() - began
            if done is None:
                status = worker.close()
                why = f"it did not end within {LIMIT_S:.0f} s" if status is None else f"its process ended ({status})"
                done = {"failure": why, "what": "started again"}
            if done["failure"]:
                failures += 1
                print(f"FAILURE: seed {seed}: {done['what']}\n{done['failure']}")
                print(f"again: python tests/fuzz_inputs.py --seed {seed}", flush=True)
            endings[done["what"].rpartition("; ")[2]] += 1
            slowest = max(slowest, (seconds, seed))
            seed += 1
            if "status" not in done["what"]:
                break
        worker.close()
    counted = ", ".join(f"{number} of {ending}" for ending, number in sorted(endings.items()))
    print(f"{seed - first} cases, {failures} failures; {counted}; {time.monotonic() - start:.0f} s")
    print(f"slowest: seed {slowest[1]}, {slowest[0]:.1f} s", flush=True)
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1, help="number of cases, of the seed and those after it")
    parser.add_argument("--seed", default="random", help="an integer, or 'random'")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    first = secrets.randbelow(SEEDS) if words.seed == "random" else int(words.seed)
    if words.work:
        work(first, words.cases, words.work)
        return 0
    print(f"first seed {first}", flush=True)
    with tempfile.TemporaryDirectory(prefix="edgephys-fuzz-inputs-") as name:
        os.environ.setdefault("EDGEPHYS_CACHE", f"{name}/cache")
        home = Path(name) / "home"
        home.mkdir()
        prepare(home, in_this_process)
        return int(fuzz(first, words.cases, home) > 0)


if __name__ == "__main__":
    sys.exit(main())
