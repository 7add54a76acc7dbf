"""Compare every exact target with the golden model on random graphs, bit for bit, until the time is over.

    python tests/fuzz.py --minutes 10 --seed random      new graphs, each of a seed of its own
    python tests/fuzz.py --seed 123 --target c           one graph again, on one target

A seed gives the graph, the vectors and the options of every target, whatever else is run. The plain evaluator
(edgephys/verify/plain.py), C, ONNX and the logic of RTL as alkaid's interpreter runs it meet every graph; Verilator
needs seconds to compile one, so that RTL meets as many as half of the time allows. A graph that a target refuses
(ModelError) is counted, with the reason. A difference, or any other error, prints the seed, the options, the first
vectors that differ and the record of the graph, and the program ends with status 1.
"""

import argparse
import json
import os
import re
import secrets
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from alkaid_program import interpreted
from c_programs import SANITISED, run_together
from random_graphs import EVERY, WITH_RTL, Limits, build, build_field

from edgephys.core import machine
from edgephys.core.errors import ModelError, UsageError
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph, to_record
from edgephys.targets.c import options as c
from edgephys.targets.c import word_products
from edgephys.targets.c.words import flags as flags_of_words
from edgephys.targets.onnx import emit as onnx
from edgephys.targets.onnx.options import OPSETS, STYLES, OnnxOptions
from edgephys.targets.rtl import emit as rtl
from edgephys.targets.rtl import simulate
from edgephys.targets.rtl.options import RtlOptions
from edgephys.verify import plain

WIDTHS = (
    {"least": 1, "input": 5, "constant": 3, "requantised": 5, "dropped": 6, "edge": 24},
    {"least": 4, "input": 16, "constant": 8, "requantised": 16, "dropped": 12, "edge": 48},
    {"least": 11, "input": 30, "constant": 15, "requantised": 30, "dropped": 30, "edge": 57},
    {"least": 24, "input": 30, "constant": 15, "requantised": 44, "dropped": 20, "edge": 57},
)
"""Bits of a quarter of the graphs each. Constants have up to three bits more: a sign, and two by which they are
shifted. RTL and ONNX are exact up to 53 bits and refuse wider edges; C takes 62."""
VECTORS = 120
SHARE_OF_RTL = 0.5
MOST_FAILURES = 5
SEEDS = 1 << 40
OPTIMISED = ("-std=c99", "-O2")
WORDS = flags_of_words(machine.describe()["features"])
INSTRUCTIONS = word_products.instructions
PARTS = ("LFE5U-85F-6BG381C", "xcvu13p-flga2577-2-e")
"""A part whose LUTs add two numbers, and one whose LUTs add three."""

OUTPUT = "the output"
Edges = dict[str, np.ndarray]
"""Integers of every layer that a target shows, and of its output under ``OUTPUT``."""


@dataclass(frozen=True, eq=False)
class Case:
    """Hold a graph and its vectors: what one seed gives."""

    seed: int
    graph: Graph
    vectors: np.ndarray


@dataclass(frozen=True)
class Target:
    """Draw the options of a target, and run a case with them."""

    options: Callable[[np.random.Generator], dict[str, Any]]
    run: Callable[[Case, Path, dict[str, Any]], Edges]

    def options_of(self, seed: int) -> dict[str, Any]:
        """Return the options that a seed gives."""
        return self.options(np.random.default_rng([seed, 1]))


@dataclass
class Counts:
    """Count the graphs that a target computed exactly and refused, by reason, and the time that they took."""

    exact: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    refusals: Counter[str] = field(default_factory=Counter)


# What is drawn ------------------------------------------------------------------------------------


def case(seed: int) -> Case:
    """Return the graph and the vectors of a seed."""
    generator = np.random.default_rng(seed)

    def draw(low: int, high: int) -> int:
        return int(generator.integers(low, high, endpoint=True))

    limits: Limits = replace(EVERY if draw(0, 3) == 0 else WITH_RTL, **WIDTHS[draw(0, len(WIDTHS) - 1)])
    try:
        graph = build_field(draw, limits) if draw(0, 3) == 0 else build(draw, limits, steps=8)
    except ModelError:  # no format holds one of its edges
        return case(seed + SEEDS)
    return Case(seed, graph, with_a_step(graph, vectors(graph, generator)))


def vectors(graph: Graph, generator: np.random.Generator) -> np.ndarray:
    """Return corners, sparse corners, and random numbers of every magnitude."""
    low, high, shape = graph.input.fixed.low, graph.input.fixed.high, graph.input.shape
    ends = np.unique(np.clip([low, low + 1, -1, 0, 1, high // 2, high - 1, high], low, high))
    every = np.stack([np.full(shape, end) for end in ends])
    corners = generator.choice(ends, (VECTORS // 3, *shape))
    sparse = np.where(generator.random((VECTORS // 3, *shape)) < 0.3, generator.choice(ends, (VECTORS // 3, *shape)), 0)
    anywhere = generator.integers(low, high, (VECTORS // 3, *shape), endpoint=True)
    small = anywhere[::2] >> generator.integers(0, graph.input.fixed.bits, anywhere[::2].shape)
    return np.clip(np.concatenate([every, corners, sparse, anywhere, small]), low, high)


def with_a_step(graph: Graph, x: np.ndarray) -> np.ndarray:
    """Return the vectors with one second whose output is not the first one's: the latency of RTL is measured there."""
    outputs = evaluate.run(graph, x).reshape(len(x), -1)
    other = int((outputs != outputs[0]).any(axis=1).argmax())
    return np.concatenate([x[:1], x[other : other + 1], x[1:other], x[other + 1 :]]) if other else x


# The targets --------------------------------------------------------------------------------------


def c_options(generator: np.random.Generator) -> dict[str, Any]:
    names = ("sanitised", "words")
    return {"style": str(generator.choice(c.STYLES)), **{name: bool(generator.integers(2)) for name in names}}


def run_c(drawn: Case, folder: Path, options: dict[str, Any]) -> Edges:
    """Compile the emitted C with the sanitisers or as a user does, and run it.

    With ``words`` every product in a batch whose inputs and weights fit in words has them, and the compiler their
    instructions, where the processor has them.
    """
    flags = (SANITISED if options["sanitised"] else OPTIMISED) + (WORDS if options["words"] else ())
    least = 0 if options["words"] else 1
    with patch.object(word_products, "instructions", lambda *of: least * INSTRUCTIONS(*of)):
        ((outputs, layers),) = run_together(folder, [drawn.graph], [drawn.vectors], options["style"], flags=flags)
    return {**layers, OUTPUT: outputs}


def onnx_options(generator: np.random.Generator) -> dict[str, Any]:
    return {"style": str(generator.choice(STYLES)), "opset": int(generator.choice(OPSETS))}


def run_onnx(drawn: Case, folder: Path, options: dict[str, Any]) -> Edges:
    """Run the emitted model with onnxruntime, as it is and with every layer as an output."""
    facts = onnx.emit(drawn.graph, folder, OnnxOptions(**options))
    outputs = onnx.run(folder, facts, drawn.vectors)
    return {**onnx.probe(folder, facts, drawn.vectors), OUTPUT: outputs}


def rtl_options(generator: np.random.Generator) -> dict[str, Any]:
    clock_ns, part = float(generator.choice([0.5, 1.5, 5.0, 100.0])), str(generator.choice(PARTS))
    io = "parallel" if generator.integers(4) == 0 else "auto"
    return {"clock_ns": clock_ns, "part": part, "io": io, "ii": int(generator.choice([1, 1, 1, 2, 6, 24]))}


def run_rtl(drawn: Case, folder: Path, options: dict[str, Any]) -> Edges:
    """Simulate the emitted Verilog with Verilator; an interval that the graph has no use for is 1."""
    try:
        facts = rtl.emit(drawn.graph, folder, RtlOptions(**options))
    except UsageError:
        facts = rtl.emit(drawn.graph, folder, RtlOptions(**{**options, "ii": 1}))
    golden = evaluate.run(drawn.graph, drawn.vectors)
    if (golden == golden[:1]).all():
        raise ModelError("its output is constant, so that no latency can be measured")
    return {OUTPUT: simulate.simulate(folder, facts, drawn.vectors).outputs}


def run_logic(drawn: Case, folder: Path, options: dict[str, Any]) -> Edges:
    """Interpret the logic of the RTL without emitting it."""
    rtl._refuse(drawn.graph)
    return {OUTPUT: interpreted(drawn.graph, drawn.vectors)}


def run_plain(drawn: Case, folder: Path, options: dict[str, Any]) -> Edges:
    """Evaluate the graph's record in Python's integers, which share no arithmetic with the golden model."""
    edges = plain.trace(to_record(drawn.graph), drawn.vectors)
    layers = {layer: edges[node.name] for layer, node in drawn.graph.layers()}
    return {**layers, OUTPUT: edges[drawn.graph.output.name]}


TARGETS = {
    "plain": Target(lambda generator: {}, run_plain),
    "c": Target(c_options, run_c),
    "onnx": Target(onnx_options, run_onnx),
    "logic": Target(lambda generator: {}, run_logic),
    "rtl": Target(rtl_options, run_rtl),
}


# The comparison -----------------------------------------------------------------------------------


def compare(drawn: Case, name: str, counts: Counts) -> str:
    """Run a case on a target and count it; return what is wrong, or nothing."""
    options = TARGETS[name].options_of(drawn.seed)
    start = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="edgephys-fuzz-") as folder:
            edges = TARGETS[name].run(drawn, Path(folder), options)
        wrong = difference(drawn, edges)
    except ModelError as error:
        counts.refusals[reason(str(error))] += 1
        return ""
    except Exception:
        wrong = traceback.format_exc()
    finally:
        counts.seconds += time.monotonic() - start
    if not wrong:
        counts.exact += 1
        return ""
    counts.failures.append(
        f"python tests/fuzz.py --seed {drawn.seed} --target {name}: {wrong.strip().splitlines()[-1]}"
    )
    return f"FAILURE: seed {drawn.seed}, target {name}, options {options}\n{wrong}"


def difference(drawn: Case, edges: Edges) -> str:
    """Return the first layer whose integers are not those of the golden model, and some of them."""
    golden = evaluate.trace(drawn.graph, {drawn.graph.input.name: drawn.vectors})
    expected = {layer: golden[node.name] for layer, node in drawn.graph.layers()}
    for layer, integers in [*((layer, edges[layer]) for layer in expected if layer in edges), (OUTPUT, edges[OUTPUT])]:
        wanted = golden[drawn.graph.output.name] if layer == OUTPUT else expected[layer]
        places = np.argwhere(integers != wanted)
        if len(places):
            rows = [
                f"  vector {p[0]}, element {p[1:].tolist()}: golden {wanted[tuple(p)]}, received "
                f"{integers[tuple(p)]}, input {drawn.vectors[p[0]].tolist()}"
                for p in places[:3]
            ]
            return "\n".join([f"{layer}: {len(places)} of {wanted.size} integers differ", *rows])
    return ""


def reason(message: str) -> str:
    """Return a refusal without its names and numbers, so that equal reasons are counted together."""
    return re.sub(r"'[^']*'", "'...'", re.sub(r"-?\d+", "N", message))


# The program --------------------------------------------------------------------------------------


def fuzz(first: int, seconds: float, names: list[str]) -> dict[str, Counts]:
    """Compare graphs of the seeds from ``first`` on; print every failure at once."""
    counts = {name: Counts() for name in names}
    start, seed = time.monotonic(), first
    while True:
        drawn = case(seed)
        for name in names:
            if name == "rtl" and len(names) > 1 and counts[name].seconds > SHARE_OF_RTL * (time.monotonic() - start):
                continue
            wrong = compare(drawn, name, counts[name])
            if wrong:
                print(wrong)
                print(f"graph: {json.dumps(to_record(drawn.graph))}")
                print(f"again: python tests/fuzz.py --seed {seed} --target {name}", flush=True)
        seed += 1
        failures = sum(len(count.failures) for count in counts.values())
        if time.monotonic() - start >= seconds or failures >= MOST_FAILURES:
            return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=0.0, help="how long to go on from the seed (0: one graph)")
    parser.add_argument("--seed", default="random", help="an integer, or 'random'")
    parser.add_argument("--target", action="append", choices=TARGETS, help="may be repeated; without it, all of them")
    words = parser.parse_args()
    first = secrets.randbelow(SEEDS) if words.seed == "random" else int(words.seed)
    print(f"first seed {first}", flush=True)
    with tempfile.TemporaryDirectory(prefix="edgephys-fuzz-cache-") as cache:
        os.environ.setdefault("EDGEPHYS_CACHE", cache)
        counts = fuzz(first, 60 * words.minutes, words.target or list(TARGETS))
    for name, count in counts.items():
        refused = count.refusals.total()
        print(f"{name}: {count.exact} exact, {len(count.failures)} failed, {refused} refused, {count.seconds:.0f} s")
        for message, number in count.refusals.most_common():
            print(f"  {number:5d} x {message}")
    failures = [failure for count in counts.values() for failure in count.failures]
    for failure in failures:  # again, as the last lines: a log that is cut keeps its end
        print(f"FAILURE: {failure}")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
