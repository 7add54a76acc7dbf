"""What the targets for a processor share: a module writes the sources, runs them and names the program that does."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgephys.targets.target import Facts, Ran, Target

if TYPE_CHECKING:
    from edgephys.core.fixed import Integers
    from edgephys.graph.graph import Graph


class Emitter(Protocol):
    """Write sources and run them, as the methods of ``Target`` state."""

    def emit(self, graph: Graph, folder: Path, options: Any) -> dict[str, Any]:
        """Write the sources of a graph and return their facts."""

    def run(self, folder: Path, facts: Facts, x: Integers) -> Integers:
        """Return the outputs of the sources."""

    def probe(self, folder: Path, facts: Facts, x: Integers) -> Mapping[str, Integers]:
        """Return the integers at the end of each layer."""

    def tool(self) -> tuple[str, str]:
        """Return the name and version of the program that runs the sources."""


class ProcessorTarget(Target):
    """State what is common to targets whose sources run on this machine, without a clock."""

    @abstractmethod
    def emitter(self) -> Emitter:
        """Return the module that writes and runs the sources."""

    def emit(self, graph: Graph, folder: Path, options: Any) -> dict[str, Any]:
        """Write the sources."""
        return self.emitter().emit(graph, folder, options)

    def run(self, folder: Path, facts: Facts, x: Integers) -> Ran:
        """Run the sources on this machine."""
        emitter = self.emitter()
        tool, version = emitter.tool()
        return Ran(emitter.run(folder, facts, x), {"tool": tool, "version": version})

    def probe(self, folder: Path, facts: Facts, x: Integers) -> Mapping[str, Integers]:
        """Return each layer's integers in a run on this machine."""
        return self.emitter().probe(folder, facts, x)
