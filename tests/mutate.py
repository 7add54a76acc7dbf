"""Mutation score of the verification: single faults in emitted sources, as a wrong emitter would make them.

    python tests/mutate.py --out hls_projects/results/mutation        the kept table (about half an hour of one core)
    python tests/mutate.py --target c --count 20 --seed 7             a small run, shown only

Small networks of every family (``mutation_graphs``) are emitted, and one place of a source is changed at a time. A
mutant is *caught* where what ``edgephys verify`` runs fails or computes another integer than the golden model, on the
vectors that are generated for the Graph (no held-out ones). A mutant that is not caught is computed for each of the
65,536 inputs that there are: it is *equivalent* where no output differs, which proves it, and has *survived* otherwise.
"""

import argparse
import re
import secrets
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from mutation_graphs import FAMILIES, every_input
from onnx import helper, numpy_helper

from edgephys.core import machine
from edgephys.core.errors import EdgephysError
from edgephys.graph import evaluate, stimuli
from edgephys.graph.graph import Graph
from edgephys.report import render
from edgephys.report.table import Column, Table
from edgephys.targets.registry import TARGETS
from edgephys.targets.target import EmittedProject

COUNTS = {"c": 200, "onnx": 200, "hls": 200, "rtl": 100}
KINDS = ("constant", "shift", "width", "sign", "operand swap", "rounding", "saturation")


@dataclass(frozen=True)
class Mutant:
    """State one fault: where it is, what stood there and what stands there now."""

    file: str
    place: str
    kind: str
    before: str
    after: str
    write: Callable[[Path], None]

    @property
    def text(self) -> str:
        """The fault in one line."""
        return f"{self.file}:{self.place}: {self.before} -> {self.after}"


@dataclass(eq=False)
class Emitted:
    """Hold one network emitted to one target, with its vectors, and run mutants of it."""

    family: str
    target: str
    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        target = TARGETS[self.target]
        (self.folder / "firmware").mkdir(parents=True)
        self.facts = target.emit(self.graph, self.folder / "firmware", target.options())

    @cached_property
    def graph(self) -> Graph:
        return FAMILIES[self.family]()

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
        try:
            outputs = TARGETS[self.target].run(folder / "firmware", self.facts, x).outputs
        except EdgephysError:
            return "survived"
        return "equivalent" if np.array_equal(outputs, expected) else "survived"

    def layers_differ(self, project: EmittedProject) -> bool:
        """Tell whether a layer that the sources show differs from the golden model's."""
        x = self.generated[0][::2]
        edges, ends = evaluate.trace(self.graph, {self.graph.input.name: x}), dict(self.graph.layers())
        received = TARGETS[self.target].probe(project.firmware, self.facts, x)
        return any(not np.array_equal(integers, edges[ends[layer].name]) for layer, integers in received.items())

    def is_caught(self, folder: Path) -> bool:
        """Tell whether any program that a verification runs fails, differs, or objects to the sources."""
        target, (x, expected) = TARGETS[self.target], self.generated
        project = EmittedProject(
            folder, "mutant", self.graph, self.facts, asdict(target.options()), {}, no_result, list
        )
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


# Faults in text -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """State where a kind of fault can be in a line, and what it makes of what stands there."""

    kind: str
    pattern: str
    changed: Callable[[re.Match[str]], str]


def by(step: int, group: int = 1) -> Callable[[re.Match[str]], str]:
    """Return what adds a step to the integer in a group of a match."""

    def changed(match: re.Match[str]) -> str:
        begin, end = (index - match.start() for index in match.span(group))
        return match[0][:begin] + str(int(match[group]) + step) + match[0][end:]

    return changed


def to(template: str) -> Callable[[re.Match[str]], str]:
    """Return what expands a template with the groups of a match."""
    return lambda match: match.expand(template)


def halved(match: re.Match[str]) -> str:
    """Return a C type of half the width; of 8 bits, which have no half, of twice the width."""
    bits = int(match[2])
    return f"{match[1]}int{bits // 2 if bits > 8 else 16}_t"


def parameter(index: int, change: Callable[[int], int]) -> Callable[[re.Match[str]], str]:
    """Return what changes one parameter of an instance of an adder, #(...)."""

    def changed(match: re.Match[str]) -> str:
        numbers = match[2].split(",")
        numbers[index] = str(change(int(numbers[index])))
        return f"{match[1]}#({','.join(numbers)})"

    return changed


def flipped(match: re.Match[str]) -> str:
    """Return a binary constant of Verilog with its first bit flipped."""
    return f"{match[1]}{'10'[int(match[2][0])]}{match[2][1:]}"


def stepped(sign: int) -> Callable[[re.Match[str]], str]:
    """Return what adds a unit in the last decimal place but one that a weight has, at most 2**-3."""
    return lambda match: f"{float(match[0]) + sign * 0.125:.10g}"


MULTIPLIER = r"(multiplier )#\(([^)]*)\)"
ADDER, PORTS = r"(shift_adder )#\(([^)]*)\)", r"\((v\d+\[[^\]]*\]), ?(v\d+\[[^\]]*\]),"
RULES = {
    "c": (
        Rule("constant", r"(?<![\w.<>\[])(?<!>> )(?<!<< )(\d+)(?![\w.\]])", by(1)),
        Rule("constant", r"(?<![\w.<>\[])(?<!>> )(?<!<< )(\d+)(?![\w.\]])", by(-1)),
        Rule("shift", r"(?:>>|<<) (\d+)", by(1)),
        Rule("shift", r"(?:>>|<<) (\d+)", by(-1)),
        Rule("width", r"\b(u?)int(\d+)_t\b", halved),
        Rule("sign", r"\bint(\d+)_t\b", to(r"uint\1_t")),
        Rule("sign", r"\buint(\d+)_t\b", to(r"int\1_t")),
        Rule("sign", r"(?<=\S) \+ (?=\S)", to(" - ")),
        Rule("sign", r"(?<=\S) - (?=\S)", to(" + ")),
        Rule("sign", r"(v\d+) \* (v\d+)", to(r"\1 * -\2")),
        Rule("operand swap", r"\b(\w+\[[^\]]*\]) - (\w+\[[^\]]*\])", to(r"\2 - \1")),
        Rule("operand swap", r"\b(v\d+) < 0", to(r"0 < \1")),
        Rule("operand swap", r"\? (\S+) : (\S+?);", to(r"? \2 : \1;")),
        Rule("operand swap", r"\[(\d+) \* (\w+) \+ (\w+)\]", to(r"[\1 * \3 + \2]")),
        Rule("rounding", r"\((v\d+) \+ \d+ \+ \(\(v\d+ >> \d+\) & 1\)\)", to(r"\1")),
        Rule("rounding", r"\+ \(\((v\d+) >> (\d+)\) & 1\)", to(r"- ((\1 >> \2) & 1)")),
        Rule("rounding", r"\((\w+) \+ \d+\) >>", to(r"\1 >>")),
        Rule("saturation", r"(\w+) > \d+ \? \d+ : \w+", to(r"\1")),
        Rule("saturation", r"(\w+) < -?\d+ \? -?\d+ : \w+", to(r"\1")),
    ),
    "hls": (
        Rule("constant", r"(?<=[{ ])-?\d+\.?\d*(?=[,}])", stepped(1)),
        Rule("constant", r"(?<=[{ ])-?\d+\.?\d*(?=[,}])", stepped(-1)),
        Rule("constant", r"static const (?:unsigned|int) \w+ = (\d+);", by(1)),
        Rule("constant", r"static const (?:unsigned|int) \w+ = (\d+);", by(-1)),
        Rule("shift", r"fixed<\d+,(-?\d+)", by(1)),
        Rule("shift", r"fixed<\d+,(-?\d+)", by(-1)),
        Rule("width", r"fixed<(\d+),", by(1)),
        Rule("width", r"fixed<(\d+),", by(-1)),
        Rule("sign", r"ap_fixed<", to("ap_ufixed<")),
        Rule("sign", r"ap_ufixed<", to("ap_fixed<")),
        Rule("sign", r"x\[i\] \* y\[i\]", to("x[i] * -y[i]")),
        Rule("operand swap", r"x\[i\] > y\[i\]", to("y[i] > x[i]")),
        Rule("operand swap", r"\((layer\w+), (layer\w+)\)", to(r"(\2, \1)")),
        Rule("operand swap", r", (w\d+), (b\d+)\)", to(r", \2, \1)")),
        Rule("operand swap", r"<(\w+_t), (\w+_t), config", to(r"<\2, \1, config")),
        Rule("rounding", r"AP_RND_CONV|AP_RND(?!_)", to("AP_TRN")),
        Rule("rounding", r"AP_RND_CONV", to("AP_RND")),
        Rule("rounding", r"AP_RND(?!_)", to("AP_RND_CONV")),
        Rule("saturation", r"AP_SAT", to("AP_WRAP")),
        Rule("saturation", r"AP_SAT", to("AP_SAT_ZERO")),
    ),
    "rtl": (
        Rule("constant", r"(\d*'b)([01]+)", flipped),
        Rule("shift", ADDER, parameter(6, lambda n: n + 1)),
        Rule("shift", ADDER, parameter(6, lambda n: n - 1)),
        Rule("width", r"(?<== )(\w+)\[(\d+):(\d+)\]", lambda m: f"{m[1]}[{max(int(m[2]) - 1, int(m[3]))}:{m[3]}]"),
        Rule("width", r"(?<== )(\w+)\[(\d+):(\d+)\]", lambda m: f"{m[1]}[{m[2]}:{min(int(m[3]) + 1, int(m[2]))}]"),
        Rule("width", r"wire \[(\d+):0\]", by(-1)),
        Rule("sign", ADDER, parameter(2, lambda n: 1 - n)),
        Rule("sign", ADDER, parameter(3, lambda n: 1 - n)),
        Rule("sign", ADDER, parameter(7, lambda n: 1 - n)),
        Rule("sign", MULTIPLIER, parameter(2, lambda n: 1 - n)),
        Rule("sign", MULTIPLIER, parameter(3, lambda n: 1 - n)),
        Rule("operand swap", PORTS, to(r"(\2, \1,")),
        Rule("rounding", r"(?<=,)\d+'b([01]+)(?=,)", lambda m: f"{len(m[1])}'b{'0' * len(m[1])}"),
        Rule("saturation", r"= \|", to("= &")),
        Rule("saturation", r" & \{\d+\{~?\w+\[\d+\]\}\}", to("")),
        Rule(
            "saturation", r"mux #\(([^)]*)\) (\w+) \((\w+\[\d+\]), ?([^,]*), ?([^,]*),", to(r"mux #(\1) \2 (\3,\5,\4,")
        ),
    ),
}
SOURCES = {"c": ("*.c",), "hls": ("firmware/*.cpp", "firmware/*.h", "firmware/weights/*.h"), "rtl": ("src/*.v",)}
NO_CODE = re.compile(r"^\s*(//|/\*|\*|#|typedef char)|NOTE\(|`timescale|edge_probe|hls4ml|_index;|reuse_factor")
"""Lines that compute nothing: comments, the preprocessor's, and what shows layers to a probe."""


def of_text(target: str, folder: Path) -> Iterator[Mutant]:
    """Yield every single fault of the text sources of a target."""
    for path in sorted(path for pattern in SOURCES[target] for path in folder.glob(pattern)):
        lines = path.read_text().splitlines(keepends=True)
        name = str(path.relative_to(folder))
        for number, line in enumerate(lines):
            if NO_CODE.search(line):
                continue
            for rule in RULES[target]:
                for match in re.finditer(rule.pattern, line):
                    after = rule.changed(match)
                    if after != match[0]:
                        text = line[: match.start()] + after + line[match.end() :]
                        write = writer(name, "".join([*lines[:number], text, *lines[number + 1 :]]))
                        yield Mutant(name, f"{number + 1}", rule.kind, line.strip(), text.strip(), write)


def writer(name: str, text: str) -> Callable[[Path], None]:
    """Return what writes a changed source into a folder."""

    def write(folder: Path) -> None:
        (folder / name).write_text(text)

    return write


# Faults in ONNX -----------------------------------------------------------------------------------


OPERATORS = (
    ("Add", "Sub", "sign"),
    ("Sub", "Add", "sign"),
    ("Mul", "Sub", "sign"),
    ("Round", "Floor", "rounding"),
    ("Floor", "Ceil", "rounding"),
    ("Floor", "Round", "rounding"),
    ("Relu", "Abs", "saturation"),
    ("Max", "Min", "saturation"),
    ("Clip", "Identity", "saturation"),
)
"""An operator, what it is changed to, and the kind of the fault."""


def of_onnx(folder: Path) -> Iterator[Mutant]:
    """Yield every single fault of an ONNX model that the rules below state."""
    path = next(folder.glob("*.onnx"))
    content = path.read_bytes()

    def mutant(kind: str, place: str, before: str, after: str, change: Callable[[Any], None]) -> Mutant:
        def write(target: Path) -> None:
            model = onnx.load_from_string(content)
            change(model.graph)
            (target / path.name).write_bytes(model.SerializeToString())

        return Mutant(path.name, place, kind, before, after, write)

    graph = onnx.load_from_string(content).graph
    for index, tensor in enumerate(graph.initializer):
        array = numpy_helper.to_array(tensor)
        for place, kind, value in other_values(tensor.name, array):
            fresh = array.copy()
            fresh[place] = value
            before, where = str(array[place]), f"{tensor.name}{list(place)}"
            yield mutant(kind, where, before, str(value), replaced(index, fresh, tensor.name))
    for index, node in enumerate(graph.node):
        if len(node.input) > 1 and node.op_type in ("Sub", "MatMul", "Gemm", "Concat", "Gather", "Less"):
            yield mutant(
                "operand swap", node.name or node.output[0], node.op_type, "first two inputs swapped", swapped(index)
            )
        for before, after, kind in OPERATORS:
            if node.op_type == before:
                yield mutant(kind, node.output[0], before, after, operator(index, after))
        if node.op_type == "QuantizeLinear":
            yield mutant("rounding", node.output[0], "input", "input + step / 4", nudged(index))
        if node.op_type == "QuantizeLinear" and node.input[2].startswith("zero_uint8"):
            yield mutant("width", node.output[0], "uint8", "int8", narrowed(index))


def other_values(name: str, array: np.ndarray) -> Iterator[tuple[tuple[int, ...], str, Any]]:
    """Yield a place, the kind of the fault and the other number, for every number of a constant tensor."""
    is_float = array.dtype.kind == "f"
    magnitudes = np.abs(array[array != 0]) if is_float else np.ones(1)
    step = min((float(np.ldexp(1.0, np.frexp(n)[1] - 1)) for n in magnitudes), default=0.0625)
    for place in np.ndindex(array.shape):
        number = float(array[place]) if is_float else int(array[place])
        others = [("constant", number + step), ("constant", number - step), ("sign", -number)]
        others += [("shift", number * 2), ("shift", number / 2)] if is_float else []
        for kind, other in others:
            fits = is_float or np.iinfo(array.dtype).min <= other <= np.iinfo(array.dtype).max
            if other != number and fits:
                end = name.endswith(("high", "low"))
                yield place, "saturation" if end else kind, array.dtype.type(other)


def replaced(index: int, array: np.ndarray, name: str) -> Callable[[Any], None]:
    def change(graph: Any) -> None:
        graph.initializer[index].CopyFrom(numpy_helper.from_array(array, name))

    return change


def swapped(index: int) -> Callable[[Any], None]:
    def change(graph: Any) -> None:
        node = graph.node[index]
        node.input[0], node.input[1] = node.input[1], node.input[0]

    return change


def operator(index: int, word: str) -> Callable[[Any], None]:
    def change(graph: Any) -> None:
        node = graph.node[index]
        node.op_type = word
        if word in ("Identity", "Abs"):
            del node.input[1:]

    return change


def nudged(index: int) -> Callable[[Any], None]:
    """Return what adds a quarter of a step before a rounding."""

    def change(graph: Any) -> None:
        node = graph.node[index]
        steps = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        graph.initializer.append(numpy_helper.from_array(steps[node.input[1]] / 4, "quarter"))
        graph.node.insert(index, helper.make_node("Add", [node.input[0], "quarter"], ["moved_by_a_quarter"]))
        graph.node[index + 1].input[0] = "moved_by_a_quarter"

    return change


def narrowed(index: int) -> Callable[[Any], None]:
    """Return what makes a quantisation, and what reads it, one of signed bytes."""

    def change(graph: Any) -> None:
        graph.initializer.append(numpy_helper.from_array(np.int8(0), "zero_of_int8"))
        for node in graph.node:
            if node is graph.node[index] or (
                node.op_type == "DequantizeLinear" and node.input[0] == graph.node[index].output[0]
            ):
                node.input[2] = "zero_of_int8"

    return change


# The program --------------------------------------------------------------------------------------


def drawn(emitted: Emitted, count: int, generator: np.random.Generator) -> list[Mutant]:
    """Return so many faults at random: first a kind, then one of its places."""
    folder = emitted.folder / "firmware"
    every = list(of_onnx(folder) if emitted.target == "onnx" else of_text(emitted.target, folder))
    places = {kind: [mutant for mutant in every if mutant.kind == kind] for kind in KINDS}
    chosen: list[Mutant] = []
    while len(chosen) < count and any(places.values()):
        kind = generator.choice([kind for kind, left in places.items() if left])
        chosen.append(places[kind].pop(generator.integers(len(places[kind]))))
    return chosen


def score(target: str, count: int, seed: int, say: Callable[[str], None]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row for each kind of fault on a target, and the survivors in words."""
    verdicts: Counter[tuple[str, str]] = Counter()
    survivors: list[str] = []
    for number, family in enumerate(FAMILIES):
        generator = np.random.default_rng([seed, number])
        with tempfile.TemporaryDirectory(prefix="edgephys-mutate-") as name:
            emitted = Emitted(family, target, Path(name) / "emitted")
            share = count // len(FAMILIES) + (number < count % len(FAMILIES))
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
    for kind in KINDS:
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", choices=COUNTS, help="may be repeated; without it, all of them")
    parser.add_argument(
        "--count", type=int, help="mutants of each target; 200 of C, ONNX and HLS and 100 of RTL by default"
    )
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

    def say(text: str) -> None:
        print(f"{time.monotonic() - start:6.0f} s  {text}", file=sys.stderr, flush=True)

    for target in words.target or COUNTS:
        rows, survivors = score(target, words.count or COUNTS[target], seed, say)
        record["rows"] += rows
        record["survivors"] += survivors
        render.writer(words.out, table)(record)
    for row in record["rows"]:
        print(" ".join(f"{name} {value}" for name, value in row.items()))
    return int(bool(record["survivors"]))


if __name__ == "__main__":
    sys.exit(main())
