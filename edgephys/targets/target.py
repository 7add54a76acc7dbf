"""The table of targets: what a project can be, and how each kind is emitted, run and looked into.

A kind is a row. Its emitter is a module with ``REVISION``, ``emit(graph, folder, options) -> facts``; what runs the
emitted sources gives integers for integers, and every layer's where a difference is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import ModuleType
from typing import Any

from edgephys.core import processes as tools
from edgephys.core.errors import UsageError
from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph
from edgephys.targets.c import emit as c
from edgephys.targets.hls import csim
from edgephys.targets.hls import emit as hls
from edgephys.targets.onnx import emit as onnx
from edgephys.targets.qonnx import emit as qonnx
from edgephys.targets.rtl import emit as rtl
from edgephys.targets.rtl import simulate

Facts = Mapping[str, Any]
"""What an emission stated of itself."""


@dataclass(frozen=True, eq=False)
class Ran:
    """Hold output integers and what is known of the run: tool, version, and times where the target has a clock."""

    outputs: Integers
    facts: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Target:
    """State a kind of project.

    ``checked`` is what verification calls the program that runs it, ``doing`` what it says meanwhile; ``packages`` are
    the ones whose versions matter to the sources; ``testbench`` leaves vectors where the vendor's own looks for them.
    """

    emitter: ModuleType
    options: type
    checked: str
    doing: str
    run: Callable[[Path, Facts, Integers], Ran]
    probe: Callable[[Path, Facts, Integers], Mapping[str, Integers]]
    packages: tuple[str, ...] = ()
    testbench: Callable[[Graph, Path, Integers], None] | None = None
    has_clock: bool = field(default=False, kw_only=True)

    @property
    def settings(self) -> frozenset[str]:
        """Names of the options."""
        return frozenset(entry.name for entry in fields(self.options))


def _csim(folder: Path, facts: Facts, x: Integers) -> Ran:
    compiler = tools.find("g++")
    return Ran(csim.simulate(folder, facts, x), {"tool": compiler.name, "version": compiler.version})


def _rtl(folder: Path, facts: Facts, x: Integers) -> Ran:
    found = simulate.simulate(folder, facts, x)
    simulator = tools.find({"verilog": "verilator", "vhdl": "ghdl"}[facts["language"]])
    first = {} if found.first_cycles is None else {"latency_first_cycles": found.first_cycles}
    timing = {"latency_cycles": found.latency_cycles, **first, "ii": found.ii}
    return Ran(found.outputs, {**timing, "tool": simulator.name, "version": simulator.version})


def _on_a_processor(module: ModuleType) -> Callable[[Path, Facts, Integers], Ran]:
    """Return how an edge target runs: its module does, and says with what."""

    def run(folder: Path, facts: Facts, x: Integers) -> Ran:
        tool, version = module.tool()
        return Ran(module.run(folder, facts, x), {"tool": tool, "version": version})

    return run


TARGETS: dict[str, Target] = {
    "hls": Target(
        hls, hls.HlsOptions, "csim", "C simulation: compile and run", _csim, csim.probe, ("hls4ml",),
        hls.write_testbench, has_clock=True,
    ),
    "rtl": Target(
        rtl, rtl.RtlOptions, "rtl", "RTL simulation: compile and run", _rtl, simulate.probe, ("alkaid",),
        has_clock=True,
    ),
    "c": Target(c, c.COptions, "c", "C: compile and run", _on_a_processor(c), c.probe),
    "onnx": Target(
        onnx, onnx.OnnxOptions, "onnxruntime", "onnxruntime", _on_a_processor(onnx), onnx.probe, ("onnx",)
    ),
    "qonnx": Target(
        qonnx, qonnx.QonnxOptions, "qonnx", "qonnx, node by node", _on_a_processor(qonnx), qonnx.probe, ("onnx",)
    ),
}  # fmt: skip
"""Every kind of project, in the street's order."""


def named(kind: str) -> Target:
    """Return a target; raise UsageError where there is none of that name."""
    if kind not in TARGETS:
        raise UsageError(f"--to must be one of {', '.join(TARGETS)}, not {kind}")
    return TARGETS[kind]


def options_of(kind: str, given: Mapping[str, Any]) -> Any:
    """Return a target's options from those that were given (None: not given), by name.

    Raises: UsageError for one that goes with other targets, and as the options do.
    """
    target = named(kind)
    asked = {name: value for name, value in given.items() if value is not None}
    for name in asked:
        if name not in target.settings:
            others = " or ".join(other for other, entry in TARGETS.items() if name in entry.settings)
            raise UsageError(f"--{name.replace('_', '-')} goes with --to {others}, not with --to {kind}; leave it out")
    return target.options(**asked)


def kind_of(options: Any) -> str:
    """Return the kind of project that options are for."""
    return next(kind for kind, target in TARGETS.items() if type(options) is target.options)
