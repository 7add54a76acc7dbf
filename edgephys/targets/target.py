"""The contract of a target: what a project can be emitted for, how it runs, what is measured and drawn of it.

A target is a folder with an instance of a class derived from ``Target`` (``registry`` lists them). These modules are
light: each method imports the libraries that it needs when it is called.
"""

from __future__ import annotations

import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgephys.core.errors import UsageError
from edgephys.core.figure import Figure
from edgephys.core.remedies import command
from edgephys.targets.emit_again import emit_again

if TYPE_CHECKING:
    from edgephys.core.fixed import Fixed, Integers
    from edgephys.graph.graph import Graph
    from edgephys.targets.rules import RuleTable

Facts = Mapping[str, Any]
"""What an emission states of its project; it is kept in the manifest."""
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Ran:
    """Hold output integers and facts of the run: tool, version, and times where the target has a clock."""

    outputs: Integers
    facts: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class OtherRun:
    """State a further way to run the sources of a project; a verification compares its outputs, too.

    ``name`` is its key in the record of the verification, ``doing`` its progress message. ``most`` bounds the vectors.
    ``probe`` returns the integers at the end of each layer in this run, where it can. One that is
    ``beside`` the others compiles a program of its own, on another core. ``golden`` returns what the golden model gives
    for the same inputs, where that is more than one evaluation of the Graph.
    """

    name: str
    doing: str
    run: Callable[[Integers], Ran]
    most: int | None = None
    probe: Callable[[Integers], Mapping[str, Integers]] | None = None
    beside: bool = False
    golden: Callable[[Integers], Integers] | None = None


@dataclass(frozen=True)
class Lint:
    """State what a tool that reads the sources objects to, a line each; ``skipped`` says why it did not run."""

    tool: str
    version: str
    findings: tuple[str, ...] = ()
    skipped: str | None = None

    def to_record(self) -> dict[str, Any]:
        """Return the record of the JSON contract."""
        return {**asdict(self), "findings": list(self.findings)}


@dataclass(frozen=True)
class Proof:
    """State whether a module of a netlist is proven equal to its source for every input, and why it is not.

    ``holds`` is None where neither is known. Units: seconds of the proof when it was made.
    """

    netlist: str
    module: str
    holds: bool | None
    why: str
    seconds: float

    def to_record(self) -> dict[str, Any]:
        """Return the record of the JSON contract."""
        return asdict(self)


@dataclass(frozen=True)
class ToolRuns:
    """State which tools may be run to measure a project where no cached result fits, and what each run may take.

    Units: timeout_s in seconds for each run; memory_gb for all runs of Yosys at the same time, together.
    """

    synth: bool = True
    place: bool = False
    flat: bool = False
    timeout_s: float = 3000.0
    memory_gb: float = 16.0


@dataclass(frozen=True, eq=False)
class EmittedProject:
    """Hold what a target reads of a project in order to measure it.

    ``result`` returns what a command (verify, bench) found for the project as it is now, or None; ``inputs`` returns
    the held-out inputs, (vector, *input shape).
    """

    folder: Path
    name: str
    graph: Graph
    facts: Facts
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    result: Callable[[str], Mapping[str, Any] | None]
    inputs: Callable[[], Integers]

    @property
    def firmware(self) -> Path:
        """Folder of the emitted sources."""
        return self.folder / "firmware"

    @property
    def clock_ns(self) -> float:
        """Clock period that the project was emitted for; only targets with a clock have one."""
        return float(self.options["clock_ns"])

    @property
    def part(self) -> str:
        """Part that the project was emitted for; only targets with a clock have one."""
        return str(self.options["part"])


@dataclass(frozen=True, eq=False)
class Example:
    """Hold what an example of a project shows: vectors, and what the numbers of its input and output are.

    ``features`` and ``outputs`` name the last axis of the input and of the output, where the model has names for them.
    ``standardised`` says that the inputs follow from raw features; ``grids`` are those of raw features, where the
    inputs are these.  Shape: inputs (vector, *input shape), expected (vector, *output shape).
    """

    inputs: Integers
    expected: Integers
    features: Sequence[str] = ()
    outputs: Sequence[str] = ()
    standardised: bool = False
    grids: Sequence[Fixed] = ()


@dataclass(frozen=True)
class TimedRun:
    """State what a benchmark loads to time a project: a runner, by its name in ``bench.runners``, and a path.

    A runner from outside of the package is named "module:function".
    """

    runner: str
    source: Path


@dataclass(frozen=True)
class CountedCycles:
    """State the clock cycles that a simulation counted, which stand in a benchmark's table instead of a time."""

    cycles: Mapping[str, Any]


@dataclass(frozen=True)
class NotTimed:
    """State why a benchmark has no time of a project."""

    why: str


@dataclass(frozen=True)
class Picture:
    """Hold a picture that a report leaves in the project's results: file name, what it shows, and the PNG."""

    name: str
    title: str
    png: bytes


@dataclass(frozen=True)
class WorkingSpan:
    """State when a part of a pipeline works on one input, as emitted: cycles ``first`` to ``last``, counted from 1.

    ``delay_ns`` is the estimated delay of its logic; None where it is a memory that waits.
    """

    name: str
    first: int
    last: int
    delay_ns: float | None = None


@dataclass(frozen=True)
class MemoryPart:
    """State what a part of a project's memory holds, and its size in bits."""

    name: str
    holds: str
    bits: int


class Target(ABC):
    """State a kind of project.

    ``probes_cheaply`` says that ``probe`` takes little longer than ``run``: a verification then compares every layer.
    ``checked`` is what verification calls the program that runs the sources, ``doing`` its progress message;
    ``packages`` are those whose versions matter to the sources; ``revision`` is raised when the same Graph and options
    give other sources, so that tables are measured again.
    """

    name: ClassVar[str]
    options: ClassVar[type]
    checked: ClassVar[str]
    doing: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    revision: ClassVar[int] = 1
    has_clock: ClassVar[bool] = False
    probes_cheaply: ClassVar[bool] = False

    @property
    def settings(self) -> frozenset[str]:
        """Names of the options."""
        return frozenset(entry.name for entry in fields(self.options))

    @abstractmethod
    def rules(self) -> RuleTable[Any]:
        """Return the table with a rule or a refusal for every operation."""

    @abstractmethod
    def emit(self, graph: Graph, folder: Path, options: Any) -> dict[str, Any]:
        """Write the sources of a graph below ``folder`` and return their facts.

        Raises: ModelError naming the layer that cannot be computed exactly, before anything is written.
        """

    @abstractmethod
    def run(self, folder: Path, facts: Facts, x: Integers) -> Ran:
        """Run the emitted sources.  Shape: x (vector, *input shape).  Exact: integers in and out."""

    @abstractmethod
    def probe(self, folder: Path, facts: Facts, x: Integers) -> Mapping[str, Integers]:
        """Return the integers that the emitted sources compute at the end of each layer, by layer."""

    @abstractmethod
    def scan(self, folder: Path, facts: Facts) -> None:
        """Raise ProjectError for sources below ``folder`` that could do more than compute, with file and line.

        Sources that somebody else sent are compared with what ``emit`` writes, before a tool reads them; the facts are
        checked, too.
        """

    def other_runs(self, project: EmittedProject, netlist: bool) -> Sequence[OtherRun]:
        """Return further ways to run the sources, such as another optimisation level or under a sanitiser.

        ``netlist`` asks for the synthesised netlist as well; a target without one raises UsageError.
        """
        if netlist:
            raise UsageError(
                f"--netlist goes with projects that are synthesised here, not with {self.name}; leave it out"
            )
        return ()

    def proofs(self, project: EmittedProject, say: Say) -> Sequence[Proof]:
        """Return what is proven of the synthesised netlist, a module each."""
        return ()

    def lint(self, project: EmittedProject) -> Sequence[Lint]:
        """Return what tools that read the sources, and do not run them, object to."""
        return ()

    def write_testbench(self, graph: Graph, folder: Path, facts: Facts, x: Integers) -> int:
        """Write vectors for a test bench of the project's own, where the target has one, and return how many."""
        return 0

    def write_example(self, folder: Path, name: str, facts: Facts, example: Example) -> None:
        """Write an example of a caller into a project's folder, beside its sources, where the target has one.

        It is the reader's to change: no result depends on it, and nothing of it is compiled or run by us.
        """
        return

    def platform(self, project: EmittedProject) -> str:
        """Return what the project runs on, or what it was emitted for."""
        return f"{platform.machine()}, {self.name}"

    def simulated_times(self, facts: Facts) -> tuple[tuple[str, str], ...]:
        """Return name and unit of each time that a verification measures, in clock cycles."""
        return ()

    def times_counted_for(self, facts: Facts) -> str:
        """Return what these times are counted for, where that is not one input, to be added to ``platform``."""
        return ""

    def figures(self, project: EmittedProject, runs: ToolRuns, say: Say) -> list[Figure]:
        """Return what is measured of a project, beside its model, widths and verification, in a report's order."""
        return []

    def timing(self, project: EmittedProject) -> TimedRun | CountedCycles | NotTimed:
        """Return how a benchmark times a project."""
        return NotTimed(f"not measured: nothing here runs projects of kind '{self.name}'")

    def pipeline(self, facts: Facts) -> Sequence[WorkingSpan]:
        """Return when each part of an emitted pipeline works, in the order of its cycles; nothing without a clock."""
        return ()

    def memory(self, facts: Facts) -> Sequence[MemoryPart]:
        """Return the parts of the memory that an emission plans, beside its constants; nothing where it plans none."""
        return ()

    def pictures(self, project: EmittedProject) -> tuple[Picture, ...]:
        """Return the pictures that a report draws of a project."""
        return ()


def failure(verified: Mapping[str, Any], folder: Path) -> str | None:
    """Return why the record of a verification does not vouch for the project in ``folder``, or None where it does."""
    if verified["mismatches"]:
        where = command("verify", folder)
        return f"verification failed: {verified['mismatches']} outputs differ; to see where: {where}"
    if verified["changed"]:
        return f"changed since its emission: {', '.join(verified['changed'][:3])}; {emit_again(folder)}"
    findings = [line for lint in verified.get("lint", ()) for line in lint["findings"]]
    wrong = [*findings, *verified.get("failures", ())]
    return f"verification failed: {wrong[0]}" if wrong else None
