"""Single faults in the text sources of a target: one rule for each place and kind."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


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
