"""Single faults in the lookup tables of emitted sources: a wrong entry, or a wrong entry that is read."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from mutants_of_onnx import changed_tensor
from mutants_of_text import SOURCES, Mutant, Rule, by, to, writer
from onnx import numpy_helper

ENTRY, ADDRESS = "table entry", "table address"
NUMBER = r"(?<=[{ ])-?\d+\.?\d*(?=[,} ])"
WORD = r"(?<=out = \d'b)[01]+(?=;)"
ADDRESSES = {
    "c": (
        Rule(ADDRESS, r"_table_\d+\[(?:v\d+|sum) [+-] (\d+)", by(1)),
        Rule(ADDRESS, r"_table_\d+\[(?:v\d+|sum) [+-] (\d+)", by(-1)),
        Rule(ADDRESS, r"(_table_\d+)\[(v\d+|sum)\]", to(r"\1[\2 + 1]")),
        Rule(ADDRESS, r"(_table_\d+)\[(v\d+|sum)\]", to(r"\1[\2 > 0 ? \2 - 1 : 0]")),
        Rule(ADDRESS, r"(_table_\d+\[v\d+ \+) (\d+) \* n", to(r"\1 \2 * (n ^ 1)")),
    ),
    "hls": (
        Rule(ADDRESS, r"static const int first = (-?\d+);", by(1)),
        Rule(ADDRESS, r"static const int first = (-?\d+);", by(-1)),
        Rule(ADDRESS, r"% CONFIG_T::channels\)", to("% CONFIG_T::channels + 1)")),
        Rule(ADDRESS, r"\(x\[i\] \* CONFIG_T::steps\(\)\)", to("(x[i])")),
        Rule(ADDRESS, r"(edge_lookup.*_out, )c(\d+)\)", lambda m: f"{m[1]}c{int(m[2]) + 1})"),
    ),
    "rtl": (
        Rule(ADDRESS, r"\d'b[01]*([01])(?=: out)", lambda m: m[0][:-1] + "10"[int(m[1])]),
        Rule(ADDRESS, r"(layer_\w+_table_)(\d+)(?= op_\d+)", lambda m: f"{m[1]}{max(int(m[2]) - 1, 0)}"),
        Rule(ADDRESS, r"(?<=op_)(\d+) \((v\d+),", lambda m: f"{m[1]} (~{m[2]},"),
    ),
}


def of_tables(target: str, folder: Path) -> Iterator[Mutant]:
    """Yield every single fault of the lookup tables that a target emitted."""
    if target == "onnx":
        yield from _of_onnx(folder)
        return
    for path in sorted(path for pattern in SOURCES[target] for path in folder.glob(pattern)):
        text = path.read_text()
        name = str(path.relative_to(folder))

        def mutant(kind: str, begin: int, end: int, after: str, text: str = text, name: str = name) -> Mutant:
            line = text.count("\n", 0, begin) + 1
            return Mutant(
                name, f"{line}", kind, text[begin:end], after, writer(name, text[:begin] + after + text[end:])
            )

        for entries in _entries(target, text):
            for place, entry in enumerate(entries):
                for other in _other_entries(target, [match[0] for match in entries], place):
                    yield mutant(ENTRY, *entry.span(), other)
        for rule in ADDRESSES[target]:
            for match in re.finditer(rule.pattern, text):
                after = rule.changed(match)
                if after != match[0]:
                    yield mutant(rule.kind, *match.span(), after)


def _entries(target: str, text: str) -> Iterator[list[re.Match[str]]]:
    """Yield the entries of each lookup table of a source."""
    if target == "rtl":
        tables = re.finditer(r"^module \w+_table_\d+ .*?^endmodule", text, re.MULTILINE | re.DOTALL)
    elif target == "hls":
        tables = re.finditer(r"^\w+_lookup_constant_t c\d+\[\d+\] = \{.*\};", text, re.MULTILINE)
    else:
        read = "|".join(sorted(set(re.findall(r"\w+_table_\d+(?=\[(?:v|sum))", text)))) or "(?!)"
        tables = re.finditer(rf"^static const \w+ (?:{read})\[\d+\] = \{{.*?\}};", text, re.MULTILINE | re.DOTALL)
    for table in tables:
        yield list(re.compile(WORD if target == "rtl" else NUMBER).finditer(text, table.start(), table.end()))


def _other_entries(target: str, entries: list[str], place: int) -> set[str]:
    """Return what an entry may be changed to: a step more or less, or its neighbour; in RTL with one bit flipped."""
    entry = entries[place]
    if target == "rtl":
        others = {f"{entry[:-1]}{'10'[int(entry[-1])]}", f"{'10'[int(entry[0])]}{entry[1:]}"}
    else:
        numbers = np.unique([float(number) for number in entries])
        step = float(np.diff(numbers).min()) if len(numbers) > 1 else 1.0
        others = {f"{float(entry) + sign * step:.10g}" for sign in (1, -1)}
    return (others | {entries[(place + 1) % len(entries)]}) - {entry}


def _of_onnx(folder: Path) -> Iterator[Mutant]:
    path = next(folder.glob("*.onnx"))
    content = path.read_bytes()
    for index, tensor in enumerate(onnx.load_from_string(content).graph.initializer):
        array = numpy_helper.to_array(tensor)
        kind = {"entries": ENTRY, "starts": ADDRESS}.get(tensor.name.rpartition("_lookup_")[2])
        step: Any = 1 if kind == ADDRESS else np.diff(np.unique(array)).min(initial=1)
        for place in np.ndindex(array.shape) if kind else ():
            neighbour = array[(place[0] + 1) % len(array)] if kind == ENTRY else array[place]
            for value in {array[place] + step, array[place] - step, neighbour} - {array[place]}:
                fresh = array.copy()
                fresh[place] = value
                where = f"{tensor.name}{list(place)}"
                write = changed_tensor(path.name, content, index, fresh, tensor.name)
                yield Mutant(path.name, where, str(kind), str(array[place]), str(value), write)
