"""Check emitted RTL with tools that read it: Verilator, Yosys and Icarus for Verilog, GHDL's synthesis for VHDL.

Verilator's warnings come from the build of the simulation, which costs nothing more. The others are cached by content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edgephys.core import processes
from edgephys.core.errors import ToolError
from edgephys.core.names import real_path
from edgephys.targets import lint
from edgephys.targets.rtl import ghdl, testbench, verilator, yosys
from edgephys.targets.rtl.design import outermost
from edgephys.targets.target import Lint

READ_S, MEMORY_GB = 600.0, 8.0
ICARUS_S = 60.0
MODULE = re.compile(r"^module\s+(\w+)\s*(#\s*\()?[^;]*;", re.MULTILINE)
"""The head of a Verilog module: its name, and whether it has parameters."""
CHECKS = "hierarchy -check -top {top}\nproc\ncheck\n"
WAIVED_VHDL = {"hide": "a parameter of a function in a fixed source has the name of a generic; it means the parameter"}
"""GHDL's warnings that are not findings, each with the reason."""
YOSYS_RULES = {
    "latch": r"Latch inferred for signal `\\(?P<module>\S+?)\.\\(?P<signal>\S+)' from process `.*\$(?P<at>[^$]+:\d+)\$",
    "multiple-driver": r"multiple conflicting drivers for (?P<module>\S+?)\.\\?(?P<signal>\S+)",
    "no-driver": r"Wire (?P<module>\S+?)\.\\?(?P<signal>\S+).* is used but has no driver",
    "combinational-loop": r"found logic loop in module (?P<module>\S+?):",
}
"""What Yosys warns of, by rule; every other warning is a finding without a name of its own."""


def of_project(folder: Path, facts: Mapping[str, Any]) -> tuple[Lint, ...]:
    """Return what each tool objects to in the sources below ``folder``."""
    if facts["language"] == "vhdl":
        return (_ghdl(folder, facts),)
    return (_verilator(folder, facts), _yosys(folder, facts), _icarus(folder, facts))


def _verilator(folder: Path, facts: Mapping[str, Any]) -> Lint:
    tool = processes.find("verilator")
    benches = [[facts["bench_source"]] if "bench" in facts else []]
    builds = [partial(testbench.build, folder, facts)]
    if "rollout" in facts:
        benches.append([facts["rollout"]["bench_source"]])
        builds.append(partial(testbench.build_rollout, folder, facts))
    findings = []
    for bench, build in zip(benches, builds, strict=True):
        try:
            text = (build().home / verilator.LOG).read_text()
        except ToolError as error:
            if verilator.SOURCE not in str(error):
                raise
            text = str(error)
        findings += _warned(text, [*facts["sources"], *bench])
    return Lint(tool.name, tool.version, tuple(dict.fromkeys(findings)))


def _warned(text: str, paths: Sequence[str]) -> list[str]:
    """Return a line for each warning of Verilator in ``paths``, or a line of what else it says."""
    findings = []
    for kind, number, line, message in re.findall(r"%(\S+): source_(\d+)\.\w+:(\d+):\d+: (.*)", text):
        rule = kind.removeprefix("Warning-").removeprefix("Error-").rstrip(":")
        findings.append(lint.finding(paths[int(number)], int(line), rule, message))
    if not findings and "%" in text:
        findings = [next(line for line in text.splitlines() if "%" in line)]
    return findings


def _yosys(folder: Path, facts: Mapping[str, Any]) -> Lint:
    tool = processes.find("yosys")
    files = [folder / name for name in facts["sources"]]
    top = outermost(facts)
    script = yosys.read_verilog(files) + CHECKS.format(top=top)

    def read(home: Path) -> list[str]:
        log = home / "yosys.log"
        (home / "script.ys").write_text(script)
        try:
            command = [*tool.command, "script.ys"]
            processes.run(command, home, READ_S, tool.environment, log, name="yosys", memory_gb=MEMORY_GB)
        except ToolError:
            if not log.is_file() or "ERROR:" not in log.read_text():
                raise
        text = log.read_text().replace(f"{real_path(folder)}/", "")
        log.unlink()
        return list(dict.fromkeys(_yosys_findings(text, folder, facts["sources"])))

    return lint.cached(tool.name, tool.version, files, (CHECKS, top, *YOSYS_RULES.values()), read)


def _yosys_findings(text: str, folder: Path, sources: Sequence[str]) -> Iterator[str]:
    """Yield a line for each warning and error in Yosys' log."""
    for kind, message in re.findall(r"^(?:(\S+:\d+): )?(?:Warning|ERROR): (.*)$", text, re.MULTILINE):
        at, rule = kind, "warning"
        for name, pattern in YOSYS_RULES.items():
            match = re.search(pattern, message)
            if match is not None:
                parts = match.groupdict()
                at, rule = parts.get("at") or _declared(folder, sources, parts["module"], parts.get("signal")), name
                message = f"{parts['module'].split(chr(92))[-1]}.{parts['signal']}" if "signal" in parts else message
                break
        if not at:
            stated = re.search(r"([^\s:'`]+\.v):(\d+)", message)
            at = f"{stated[1]}:{stated[2]}" if stated is not None else f"{sources[-1]}:1"
        path, _, line = at.rpartition(":")
        yield lint.finding(path, int(line), rule, message.strip())


def _declared(folder: Path, sources: Sequence[str], module: str, signal: str | None) -> str:
    """Return the file and line that first name a signal of a module, or the module's own line."""
    name = re.escape(module.split("\\")[-1])
    for source in sources:
        lines = (folder / source).read_text().splitlines()
        for number, line in enumerate(lines, 1):
            if not re.match(rf"\s*module\s+{name}\b", line):
                continue
            pattern = rf"\b{re.escape((signal or name).lstrip(chr(92)))}\b"
            later = (n for n, text in enumerate(lines[number - 1 :], number) if re.search(pattern, text))
            return f"{source}:{next(later, number)}"
    return f"{sources[-1]}:1"


def _icarus(folder: Path, facts: Mapping[str, Any]) -> Lint:
    """Return what Icarus objects to: in each module by itself, and in each top with only the heads of the others.

    All copies of the modules at once would take it minutes.
    """
    try:
        tool = processes.find("iverilog")
    except ToolError as error:
        return lint.missing("iverilog", error)
    files = [folder / name for name in facts["sources"]]
    flags, tops = ("-g2005", "-Wall", "-t", "null"), tuple(dict.fromkeys((str(facts["top"]), outermost(facts))))

    def read(home: Path) -> list[str]:
        heads = {head[1]: head for path in files for head in MODULE.finditer(path.read_text())}
        own = {top: [path for path in files if path.stem == top] for top in tops}
        words = {word for paths in own.values() for path in paths for word in re.findall(r"\w+", path.read_text())}
        findings = []
        for name, head in heads.items():
            if name in words - set(tops) and not head[2]:
                alone = (*flags, "-s", name, *(str(real_path(path)) for path in files))
                findings += _said([*tool.command, *alone], home, folder, ICARUS_S)
        for top, paths in own.items():
            empty = [f"{head[0]}\nendmodule\n" for name, head in heads.items() if name != top]
            (home / "heads.v").write_text("`timescale 1ns / 1ps\n" + "".join(empty))
            above = (*flags, "-s", top, "heads.v", *(str(real_path(path)) for path in paths))
            findings += _said([*tool.command, *above], home, folder, ICARUS_S)
        return list(dict.fromkeys(findings))

    return lint.cached(tool.name, tool.version, files, (*flags, *tops), read)


def _ghdl(folder: Path, facts: Mapping[str, Any]) -> Lint:
    try:
        tool = processes.find("ghdl")
    except ToolError as error:
        return lint.missing("ghdl", error)
    files = [folder / name for name in facts["sources"]]
    flags = (ghdl.STANDARD, *(f"-Wno-{name}" for name in WAIVED_VHDL))

    def read(home: Path) -> list[str]:
        findings = _said([*tool.command, "-a", *flags, *(str(real_path(path)) for path in files)], home, folder, READ_S)
        synthesis = [*tool.command, "--synth", ghdl.STANDARD, "--out=none", str(facts["top"])]
        return findings or _said(synthesis, home, folder, READ_S)

    return lint.cached(f"{tool.name} synthesis", tool.version, files, (*flags, str(facts["top"])), read)


def _said(command: Sequence[str], home: Path, folder: Path, timeout_s: float) -> list[str]:
    """Return what a compiler says of lines of the sources, and its last line where it fails without such a line."""
    log, failed = home / "said.log", None
    try:
        processes.run(command, home, timeout_s, log=log)
    except ToolError as error:
        if not log.is_file():
            raise
        failed = str(error)
    said = log.read_text().replace(f"{real_path(folder)}/", "")
    findings = []
    for path, line, message in re.findall(r"^(\S+\.\w+):(\d+):(.*)$", said, re.MULTILINE):
        rule = "error" if "error" in message or failed else "warning"
        text = re.sub(r"^[\d:\s]*((error|warning)\s*:)?\s*", "", message)
        findings.append(lint.finding(path, int(line), rule, text))
    return list(dict.fromkeys(findings)) or ([failed] if failed else [])
