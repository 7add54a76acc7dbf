"""Mutation score of the verification: single faults in emitted sources, as a wrong emitter would make them.

    python tests/mutate.py --out hls_projects/results/mutation        the kept table (about half an hour of one core)
    python tests/mutate.py --tables --out hls_projects/results/mutation   its rows of lookup tables anew
    python tests/mutate.py --target c --out hls_projects/results/mutation   its rows of one target anew
    python tests/mutate.py --target c --count 20 --seed 7             a small run, shown only

Small networks of every family (``mutation_graphs``) are emitted, and one place of a source is changed at a time. A
mutant is *caught* where what ``edgephys verify`` runs fails or computes another integer than the golden model, on the
vectors that are generated for the Graph (no held-out ones). A mutant that is not caught is computed for each of the
65,536 inputs that there are: it is *equivalent* where no output differs, which proves it, and has *survived* otherwise.
"""

import argparse
import json
import secrets
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from mutants_of_onnx import of_onnx
from mutants_of_tables import ADDRESS, ENTRY, of_tables
from mutants_of_text import Mutant, of_text
from mutation_graphs import FAMILIES, WITH_TABLES, every_input

from edgephys.core import machine
from edgephys.core.errors import EdgephysError
from edgephys.graph import evaluate, stimuli
from edgephys.graph.graph import Graph
from edgephys.report import render
from edgephys.report.table import Column, Table
from edgephys.targets.c import word_products
from edgephys.targets.c.words import flags as flags_of_words
from edgephys.targets.registry import TARGETS
from edgephys.targets.target import EmittedProject

COUNTS = {"c": 200, "onnx": 200, "hls": 200, "rtl": 100}
COUNTS_OF_TABLES = {"c": 60, "onnx": 120, "hls": 60, "rtl": 40}
WORDS = flags_of_words(machine.describe()["features"])
INSTRUCTIONS = word_products.instructions
KINDS = ("constant", "shift", "width", "sign", "operand swap", "rounding", "saturation")
KINDS_OF_TABLES = (ENTRY, ADDRESS)


@dataclass(eq=False)
class Emitted:
    """Hold one network emitted to one target, with its vectors, and run mutants of it.

    A batch in C has products of words besides those of digits, however small, where this processor runs both.
    """

    family: str
    target: str
    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        target = TARGETS[self.target]
        (self.folder / "firmware").mkdir(parents=True)
        with patch.object(word_products, "instructions", lambda *of: 0 if WORDS else INSTRUCTIONS(*of)):
            self.facts = target.emit(self.graph, self.folder / "firmware", self.options)

    @property
    def options(self) -> Any:
        """Every source that the target can emit: C has an entry point for many events, too."""
        return TARGETS[self.target].options(**({"batch": True} if self.target == "c" else {}))

    @cached_property
    def graph(self) -> Graph:
        return {**FAMILIES, **WITH_TABLES}[self.family]()

    @cached_property
    def generated(self) -> tuple[np.ndarray, np.ndarray]:
        x = stimuli.make(self.graph)
        return x, evaluate.run(self.graph, x)

    @cached_property
    def every(self) -> tuple[np.ndarray, np.ndarray]:
        x = every_input(self.graph)
        return x, evaluate.run(self.graph, x)

    def verdict(self, mutant: Mutant, folder: Path) -> str:
        """Return caught, equivalent or survived for a mutant, which is written into an empty folder."""
        shutil.copytree(self.folder, folder)
        mutant.write(folder / "firmware")
        if self.is_caught(folder):
            return "caught"
        x, expected = self.every
        target, project = TARGETS[self.target], self.project(folder)
        try:
            received = [target.run(project.firmware, self.facts, x).outputs]
            received += [other.run(x).outputs for other in target.other_runs(project, False) if other.most is None]
        except EdgephysError:
            return "survived"
        return "equivalent" if all(np.array_equal(outputs, expected) for outputs in received) else "survived"

    def project(self, folder: Path) -> EmittedProject:
        """Return a mutant as what a target runs."""
        return EmittedProject(folder, "mutant", self.graph, self.facts, asdict(self.options), {}, no_result, list)

    def layers_differ(self, project: EmittedProject) -> bool:
        """Tell whether a layer that the sources show differs from the golden model's."""
        x = self.generated[0][::2]
        edges, ends = evaluate.trace(self.graph, {self.graph.input.name: x}), dict(self.graph.layers())
        received = TARGETS[self.target].probe(project.firmware, self.facts, x)
        return any(not np.array_equal(integers, edges[ends[layer].name]) for layer, integers in received.items())

    def is_caught(self, folder: Path) -> bool:
        """Tell whether any program that a verification runs fails, differs, or objects to the sources."""
        target, (x, expected) = TARGETS[self.target], self.generated
        project = self.project(folder)
        try:
            if not np.array_equal(target.run(project.firmware, self.facts, x).outputs, expected):
                return True
            if target.probes_cheaply and self.layers_differ(project):
                return True
            for other in target.other_runs(project, False):
                chosen = slice(None) if other.most is None else np.linspace(0, len(x) - 1, other.most).astype(int)
                if not np.array_equal(other.run(x[chosen]).outputs, expected[chosen]):
                    return True
            return any(lint.findings for lint in target.lint(project))
        except EdgephysError:
            return True


def no_result(name: str) -> None:
    """Return no result of an earlier command."""


# The program --------------------------------------------------------------------------------------


def drawn(emitted: Emitted, count: int, generator: np.random.Generator) -> list[Mutant]:
    """Return so many faults at random: first a kind, then a place; of a network with tables, in its tables."""
    folder, target = emitted.folder / "firmware", emitted.target
    if emitted.family in WITH_TABLES:
        every, kinds = list(of_tables(target, folder)), KINDS_OF_TABLES
    else:
        every, kinds = list(of_onnx(folder) if target == "onnx" else of_text(target, folder)), KINDS
    places = {kind: [mutant for mutant in every if mutant.kind == kind] for kind in kinds}
    chosen: list[Mutant] = []
    while len(chosen) < count and any(places.values()):
        kind = generator.choice([kind for kind, left in places.items() if left])
        chosen.append(places[kind].pop(generator.integers(len(places[kind]))))
    return chosen


def score(
    target: str, count: int, seed: int, say: Callable[[str], None], families: Mapping[str, Any] = FAMILIES
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row for each kind of fault on a target, and the survivors in words."""
    verdicts: Counter[tuple[str, str]] = Counter()
    survivors: list[str] = []
    for number, family in enumerate(families):
        generator = np.random.default_rng([seed, number])
        with tempfile.TemporaryDirectory(prefix="edgephys-mutate-") as name:
            emitted = Emitted(family, target, Path(name) / "emitted")
            share = count // len(families) + (number < count % len(families))
            for index, mutant in enumerate(drawn(emitted, share, generator)):
                folder = Path(name) / f"mutant_{index}"
                verdict = emitted.verdict(mutant, folder)
                shutil.rmtree(folder)
                verdicts[mutant.kind, verdict] += 1
                if verdict == "survived":
                    survivors.append(f"{target}, {family}, {mutant.kind}: {mutant.text}")
                    say(f"survived: {survivors[-1]}")
        say(f"{target}, {family}: {sum(verdicts.values())} mutants so far")
    rows = []
    for kind in (*KINDS, *KINDS_OF_TABLES):
        counts = {verdict: verdicts[kind, verdict] for verdict in ("caught", "equivalent", "survived")}
        if sum(counts.values()):
            rows.append({"target": target, "kind": kind, "mutants": sum(counts.values()), **counts})
    return rows, survivors


def table(record: dict[str, Any]) -> Table:
    """Declare the table of mutants."""
    totals = Counter[str]()
    for row in record["rows"]:
        totals.update({name: row[name] for name in ("mutants", "caught", "equivalent", "survived")})
    return Table(
        title="Faults in emitted sources that verification catches",
        columns=(
            Column("target", "target", left=True),
            Column("kind", "fault", left=True),
            *(Column(name, name) for name in ("mutants", "caught", "equivalent", "survived")),
        ),
        rows=record["rows"],
        record=record,
        lead=(
            "One place of an emitted source is changed at random, as a wrong emitter would have it. *Caught*: "
            "verification fails on vectors that are generated for the Graph. *Equivalent*: no output differs on any of "
            f"the 65,536 inputs. *Survived*: neither. In all {totals['mutants']}: {totals['caught']} caught, "
            f"{totals['equivalent']} equivalent, {totals['survived']} survived.",
        ),
        notes=tuple(record["survivors"]),
    )


def joined(record: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """Return a record with the rows and survivors of an earlier one that it does not have, target by target."""
    rows: list[dict[str, Any]] = []
    fresh = {(row["target"], row["kind"]) for row in record["rows"]}
    survivors = [line for line in earlier["survivors"] if not any(_is_of(line, *place) for place in fresh)]
    for target in COUNTS:
        rows += [row for row in earlier["rows"] if row["target"] == target and (target, row["kind"]) not in fresh]
        rows += [row for row in record["rows"] if row["target"] == target]
    command = "` and `".join(dict.fromkeys([*earlier["command"].split("` and `"), record["command"]]))
    machines = " and ".join(dict.fromkeys([earlier["machine"], record["machine"]]))
    return {
        **record,
        "command": command,
        "machine": machines,
        "rows": rows,
        "survivors": [*survivors, *record["survivors"]],
    }


def _is_of(survivor: str, target: str, kind: str) -> bool:
    return survivor.startswith(f"{target}, ") and f", {kind}: " in survivor


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", choices=COUNTS, help="may be repeated; joins OUT.json as it is")
    parser.add_argument(
        "--count", type=int, help="mutants of each target; 200 of C, ONNX and HLS and 100 of RTL by default"
    )
    parser.add_argument("--tables", action="store_true", help="faults in lookup tables only; joins OUT.json as it is")
    parser.add_argument("--seed", default="1", help="an integer, or 'random'")
    parser.add_argument("--out", type=Path, help="write OUT.json, .md and .csv; without it the table is only shown")
    words = parser.parse_args()
    seed = secrets.randbelow(1 << 40) if words.seed == "random" else int(words.seed)
    start = time.monotonic()
    record: dict[str, Any] = {
        "command": f"python {shlex.join(sys.argv)}",
        "machine": machine.name(),
        "seed": seed,
        "rows": [],
        "survivors": [],
    }
    earlier = words.out.with_suffix(".json") if (words.tables or words.target) and words.out else None
    before = json.loads(earlier.read_text()) if earlier is not None and earlier.is_file() else None

    def say(text: str) -> None:
        print(f"{time.monotonic() - start:6.0f} s  {text}", file=sys.stderr, flush=True)

    runs = [(WITH_TABLES, COUNTS_OF_TABLES)] if words.tables else [(FAMILIES, COUNTS), (WITH_TABLES, COUNTS_OF_TABLES)]
    for target in words.target or COUNTS:
        for families, counts in runs:
            rows, survivors = score(target, words.count or counts[target], seed, say, families)
            record["rows"] += rows
            record["survivors"] += survivors
        render.writer(words.out, table)(joined(record, before) if before else record)
    for row in record["rows"]:
        print(" ".join(f"{name} {value}" for name, value in row.items()))
    return int(bool(record["survivors"]))


if __name__ == "__main__":
    sys.exit(main())
