"""Benchmark of the tool's own speed (`make bench-tool`): the golden model in jets a second, RTL in seconds to emit.

By itself: `python tests/bench_tool.py [MODEL ...] [--out FOLDER]`. Without models it takes those of the zoo that have
a limit; one that is not there is built with random weights, and its row says so. Writes speed.json and speed.md.
"""

import argparse
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.applications.jets.networks.deepsets import DeepSets
from edgephys.applications.jets.networks.interaction import InteractionNetwork
from edgephys.applications.jets.networks.tagger import Tagger
from edgephys.core.files import write_file, write_json
from edgephys.core.fixed import Fixed, Integers
from edgephys.graph import evaluate
from edgephys.models.files.keras import lower
from edgephys.models.trained import load
from edgephys.targets.rtl.emit import emit
from edgephys.targets.rtl.options import RtlOptions

ROOT = Path(__file__).parent.parent
ZOO = ROOT / "models" / "zoo"
NETS: dict[str, Tagger] = {
    "jet_deepsets_n8_8bit": DeepSets(8),
    "jet_deepsets_n32_8bit": DeepSets(32),
    "jet_interaction_n16_8bit": InteractionNetwork(16),
}
EVALUATE, EMIT = "golden model", "emit RTL"
UNITS = {EVALUATE: "jets/s", EMIT: "s"}
LIMITS = {
    (EVALUATE, "jet_deepsets_n8_8bit"): 100_000.0,
    (EVALUATE, "jet_interaction_n16_8bit"): None,
    (EMIT, "jet_deepsets_n32_8bit"): 60.0,
    (EMIT, "jet_interaction_n16_8bit"): 120.0,
}
"""What is measured without being asked, and its limit: jets a second at least, seconds at most."""

JETS = 200_000
REPEATS = {EVALUATE: 5, EMIT: 3}


@dataclass(frozen=True)
class Model:
    """Hold a Keras model with the integers that are put through it, and where its weights come from."""

    name: str
    keras: Any
    format: Fixed
    inputs: Integers
    weights: str


def read(path: Path) -> Model:
    """Return a trained model, or the network of that name with random weights where there is none."""
    if path.is_dir() or path.name not in NETS:
        found = load(path)
        return Model(found.name, found.model, found.standardisation.output, found.held_out.inputs, "trained")
    net, generator = NETS[path.name], np.random.default_rng(0)
    keras = net.build()
    keras.set_weights([generator.uniform(-0.5, 0.5, weight.shape) for weight in keras.get_weights()])
    shape = (12_000, net.constituents, len(net.features))
    inputs = generator.integers(net.input.low // 4, net.input.high // 4, shape)
    return Model(path.name, keras, net.input, inputs, "random, seed 0")


def jets_per_second(model: Model) -> Callable[[], float]:
    """Return a run of the golden model on the held-out vectors, repeated to JETS."""
    graph = lower(model.keras, model.format, model.name)
    x = np.resize(model.inputs, (JETS, *model.inputs.shape[1:]))  # repeats them
    evaluate.run(graph, x[:1000])  # ranges are derived once

    def timed() -> float:
        began = time.perf_counter()
        evaluate.run(graph, x)
        return JETS / (time.perf_counter() - began)

    return timed


def seconds_to_emit(model: Model) -> Callable[[], float]:
    """Return a walk from the Keras model in memory to RTL on disk; nothing of it is cached."""

    def timed() -> float:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            emit(lower(model.keras, model.format, model.name), Path(folder), RtlOptions())
            return time.perf_counter() - began

    return timed


def row(what: str, model: Model, limit: float | None) -> dict[str, Any]:
    """Measure one figure as often as REPEATS says."""
    load_before = os.getloadavg()[0]
    timed = {EVALUATE: jets_per_second, EMIT: seconds_to_emit}[what](model)
    found = [timed() for _ in range(REPEATS[what])]
    median = statistics.median(found)
    met = None if limit is None else (median >= limit if what == EVALUATE else median <= limit)
    return {
        "measured": what,
        "model": model.name,
        "weights": model.weights,
        "unit": UNITS[what],
        "median": median,
        "lowest": min(found),
        "highest": max(found),
        "repeats": len(found),
        "limit": limit,
        "limit_met": met,
        "load_before": load_before,
    } | ({"clock_ns_part": f"{RtlOptions().clock_ns:g}, {RtlOptions().part}"} if what == EMIT else {"jets": JETS})


def machine() -> str:
    """Name the platform, its processor and its cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    processor = next(named, platform.processor() or "processor not named")
    cores = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{platform.system()} {platform.machine()}, {processor}, {cores}"


def markdown(table: dict[str, Any]) -> str:
    """Return the table as a page."""
    lines = [
        f"Made by `{table['command']}` on {table['machine']}.",
        "",
        "| measured | model | weights | median | lowest – highest | repeats | limit | load before |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for found in table["rows"]:
        digits, unit = (",.0f", found["unit"]) if found["unit"] == UNITS[EVALUATE] else (".1f", found["unit"])
        bound = "at least" if found["unit"] == UNITS[EVALUATE] else "at most"
        limit = "–" if found["limit"] is None else f"{bound} {found['limit']:,.0f} {unit}"
        limit += {None: "", True: "", False: ": **missed**"}[found["limit_met"]]
        lines.append(
            f"| {found['measured']} | {found['model']} | {found['weights']} | {found['median']:{digits}} {unit} | "
            f"{found['lowest']:{digits}} – {found['highest']:{digits}} | {found['repeats']} | {limit} | "
            f"{found['load_before']:.1f} |"
        )
    lines += [
        "",
        f"- {EVALUATE}: `evaluate.run` on {JETS:,} jets (the held-out vectors, repeated), wall time.",
        f"- {EMIT}: lower, trace, cut in stages and write, in one process from the Keras model in memory, wall time; "
        f"{RtlOptions().clock_ns:g} ns, {RtlOptions().part}.",
        "- load before: the machine's load average of the last minute; over 0, other work ran beside.",
    ]
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """Measure, write the table and print it; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", type=Path, help="folders of trained models; both figures of each")
    parser.add_argument("--out", type=Path, default=ROOT / "hls_projects" / "results")
    given = parser.parse_args(words)
    wanted = [(what, path) for path in given.models for what in UNITS] or [(what, ZOO / name) for what, name in LIMITS]
    rows = [row(what, model, LIMITS.get((what, model.name))) for what, path in wanted for model in [read(path)]]
    command = shlex.join(["python", "tests/bench_tool.py", *(sys.argv[1:] if words is None else words)])
    table = {"command": command, "machine": machine(), "rows": rows}
    write_json(given.out / "speed.json", table)
    write_file(given.out / "speed.md", markdown(table).encode())
    print(markdown(table), end="")
    return int(any(found["limit_met"] is False for found in rows))


if __name__ == "__main__":
    sys.exit(main())
