"""Scan the sources of an RTL project for what we do not emit: system tasks, directives, attributes, files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephys.core.names import own_file, require_count, require_identifier
from edgephys.targets.rtl import block_text
from edgephys.targets.rtl.netlist import IN_LOGIC
from edgephys.targets.rtl.prefix import renaming
from edgephys.targets.source_scan import Scanned, facts_are_ours, require_no

TOOL_WORDS = re.compile(r"\b(verilator|synopsys|synthesis|translate|pragma|yosys|coverage|psl)\b", re.IGNORECASE)
LINT = re.compile(r"//\s*verilator lint_(on|off) [A-Z]+\s*|/\*\s*verilator lint_(on|off) [A-Z]+\s*\*/")
"""Comments for a tool that are emitted: they only turn warnings off."""
WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True)
class Language:
    """State what is skipped in a source (comments, texts of bits), and what no source of ours holds."""

    skipped: re.Pattern[str]
    refused: re.Pattern[str]
    words: frozenset[str]


LANGUAGES = {
    "verilog": Language(
        re.compile(rf"//[^\n]*|/\*.*?\*/|{re.escape(IN_LOGIC)}", re.DOTALL),
        re.compile(r"\$(?!signed\b)\S*|`(?!timescale 1ns / 1ps\s*$)[^\n]*|\(\*(?!\s*\))|[\"\\]|/\*", re.MULTILINE),
        frozenset(
            [
                "import",
                "export",
                "bind",
                "program",
                "class",
                "interface",
                "package",
                "chandle",
                "checker",
                "config",
                "covergroup",
                "force",
                "release",
                "specify",
                "initial",
                "final",
                "defparam",
                "primitive",
                "library",
                "include",
                "fork",
                "wait",
                "event",
                "real",
                "time",
                "string",
                "task",
                "forever",
                "while",
                "repeat",
                "extern",
                "pure",
                "context",
                "virtual",
                "new",
                "union",
                "struct",
                "typedef",
                "assert",
                "assume",
                "cover",
                "property",
                "sequence",
                "clocking",
                "modport",
                "nettype",
            ]
        ),
    ),
    "vhdl": Language(
        re.compile(r'--[^\n]*|"[01]*"'),
        re.compile(
            r"\blibrary\s+(?!ieee\s*;)\w*|\buse\s+(?!ieee\.(std_logic_1164|numeric_std|std_logic_misc)\.\w+\s*;)\S*|"
            r"[\"\\`]|/\*|<<|(?<!end )\bprocess\b(?!\s*\(clk\)\s*begin\s+if rising_edge\(clk\) then\s+"
            r"(?:\w+ <= \w+;\s+)+end if;\s+end process;)|\bwhen\b(?!\s*,|\s*others;)"
            r"(?:(?!\belse\b)[^;])*;",
            re.IGNORECASE,
        ),
        frozenset(
            [
                "attribute",
                "file",
                "textio",
                "env",
                "access",
                "protected",
                "shared",
                "impure",
                "alias",
                "report",
                "assert",
                "severity",
                "context",
                "foreign",
                "configuration",
                "disconnect",
                "group",
                "guarded",
                "new",
                "postponed",
                "vunit",
                "wait",
                "std",
                "vhpidirect",
                "external",
            ]
        ),
    ),
}
"""Verilog of ours has no system task but $signed, no directive but `timescale, no attribute but IN_LOGIC and no
text; VHDL no library but ieee, no text but bits, no process but that of registers and no choice without an ``else``,
so no latch. The words are those that reach beyond modules, wires and registers."""


def scan(folder: Path, facts: Mapping[str, Any]) -> None:
    """Raise ProjectError for facts or sources of an RTL project that could do more than compute."""
    sources = _sources(folder, facts)
    operators = block_text.every_operator(facts["language"])
    if facts.get("prefix"):
        renamed = renaming(facts["prefix"], operators.values())
        operators = {renamed.path(name): renamed.text(text) for name, text in operators.items()}
    for path in sources:
        if path.is_file() and not _is_text(path, operators.get(path.name)):  # a missing one is named where it is read
            _require_ours(Scanned(folder, path), LANGUAGES[facts["language"]])


def _is_text(path: Path, text: str | None) -> bool:
    """Tell whether a file is a source of the installed alkaid, byte for byte."""
    return text is not None and not path.is_symlink() and path.read_bytes() == text.encode()


def _sources(folder: Path, facts: Mapping[str, Any]) -> list[Path]:
    """Return every source that the facts name; raise ProjectError for facts that would mislead a tool."""
    with facts_are_ours(folder):
        if facts["language"] not in LANGUAGES:
            raise ValueError(f"language must be verilog or vhdl, not {facts['language']!r}")
        for key in ("top", "probe", "bench", "prefix"):
            if key in facts:
                require_identifier(f"facts: {key}", facts[key])
        if "axi_stream" in facts:
            require_identifier("facts: top with AXI-Stream ports", facts["axi_stream"]["top"])
        if "ii" in facts:
            for key in ("ii", "latency"):
                require_count(f"facts: {key}", facts[key])
        for block in facts["blocks"]:
            if block["module"] is not None:
                require_identifier("facts: module", block["module"])
            require_count("facts: copies", block["copies"])
        for port in (port for key in ("input", "output", "probed") for port in facts[key]):
            for number in (port["bits"], *port["shape"]):
                require_count("facts: bits and shape of a port", number)
        names = [*facts["sources"], *(facts[key] for key in ("probe_source", "bench_source") if key in facts)]
        if "rollout" in facts:
            names.append(_require_rollout(facts["rollout"]))
        return [own_file(folder, name) for name in names]


def _require_rollout(rollout: Mapping[str, Any]) -> str:
    """Return the source of a roll-out's bench; raise ValueError for facts that would mislead a tool."""
    for key in ("top", "bench", "memory"):
        require_identifier(f"facts: {key} of the roll-out", rollout[key])
    for key in ("state", "step_cycles", "last_step_cycles"):
        require_count(f"facts: {key} of the roll-out", rollout[key])
    for port in (*rollout["input"], *rollout["output"]):
        for number in (port["bits"], *port["shape"]):
            require_count("facts: bits and shape of a port", number)
    return str(rollout["bench_source"])


def _require_ours(scanned: Scanned, language: Language) -> None:
    text = scanned.read()

    def remark(match: re.Match[str]) -> str:
        if TOOL_WORDS.search(match.group()) and not LINT.fullmatch(match.group()):
            line = text.count("\n", 0, match.start()) + 1
            raise scanned.refuse(line, f"the comment '{match.group()[:40]}' for a tool")
        return " " + "\n" * match.group().count("\n")

    code = language.skipped.sub(remark, text)
    require_no(scanned, code, language.refused, "")
    words = {word for word in WORD.findall(code) if word.lower() in language.words}
    for word in sorted(words):
        require_no(scanned, code, re.compile(rf"\b{word}\b"), "the word")
