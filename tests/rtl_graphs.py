"""Graphs for the RTL target, small enough to simulate in every test."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph

INPUT = Fixed(True, 8, 4)
ACTIVATION = Fixed(False, 5, 2, Rounding.RND_CONV, Overflow.SAT)


def dense(builder: Builder, layer: str, x: str, size: int, generator, active: bool = True) -> str:
    rows = builder.shape(x)[-1]
    x = builder.dense(layer, x, generator.integers(-16, 16, (rows, size)), 4)
    x = builder.bias(layer, x, generator.integers(-16, 16, size), 4)
    return builder.requantise(layer, builder.relu(layer, x), ACTIVATION) if active else x


def tagger(rows: int = 5, width: int = 4, seed: int = 1) -> Graph:
    """Return a Deep Sets with a mean over ``rows`` constituents, a branch past the phi, and a reshape."""
    generator = np.random.default_rng(seed)
    builder = Builder("tagger")
    x = builder.input("x", (rows, 3), INPUT)
    phi = dense(builder, "phi_2", dense(builder, "phi_1", x, width, generator), width, generator)
    mean = builder.scale("mean", builder.sum("mean", phi, 0), np.array(round(256 / rows)), 8)
    mean = builder.requantise("mean", mean, ACTIVATION)
    flat = builder.reshape("flat", builder.requantise("short", x, Fixed(True, 3, 2)), (rows * 3,))
    joined = builder.concat("join", (mean, flat), 0)
    return builder.finish(dense(builder, "rho_2", dense(builder, "rho_1", joined, 6, generator), 3, generator, False))


def blurred(size: tuple[int, int] = (3, 3), field: tuple[int, int] = (6, 7)) -> Graph:
    """Return one convolution and what goes past it."""
    generator = np.random.default_rng(3)
    builder = Builder("blurred")
    x = builder.input("x", (*field, 1), INPUT)
    y = builder.dense(
        "blur", builder.window("blur_window", x, size), generator.integers(1, 9, (size[0] * size[1], 1)), 2
    )
    return builder.finish(builder.add("next", y, builder.requantise("past", x, INPUT)))


def assert_same_in_any_process(program: str, folder: Path, *words: str) -> None:
    """Run a program that emits below its first argument in two processes of other hash seeds, and compare the files."""
    written = []
    for seed in ("1", "2"):
        home = folder / seed
        home.mkdir()
        environment = {"PYTHONHASHSEED": seed, "PATH": ""}
        command = [sys.executable, "-c", program, str(home), *words]
        subprocess.run(command, env=environment, cwd=Path(__file__).parent.parent, check=True)
        files = sorted(path for path in home.rglob("*") if path.is_file())
        written.append({str(p.relative_to(home)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files})
    assert written[0] == written[1]
    assert len(written[0]) > 8
