"""A project's held-out vectors on a board at a serial port, compared with the golden model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgephys.core.errors import MismatchError, UsageError
from edgephys.graph import evaluate
from edgephys.project import Project, read_vectors
from edgephys.targets.rtl.board import host
from edgephys.targets.rtl.board.board import UART
from edgephys.workflow.board import bitstream_of


@dataclass(frozen=True)
class OnBoard:
    """State how a board compared: its name, the vectors, each output that differs, and the requests sent again.

    A difference is (vector, output, integer of the board, integer of the golden model).
    """

    board: str
    port: str
    vectors: int
    differences: tuple[tuple[int, int, int, int], ...]
    again: int

    def require(self) -> None:
        """Raise MismatchError where an output differs."""
        if self.differences:
            vector, output, here, golden = self.differences[0]
            raise MismatchError(
                f"{self.board} on {self.port}: {len(self.differences)} outputs of {self.vectors} vectors differ from "
                f"the golden model; the first is output {output} of vector {vector}: {here}, not {golden}"
            )


def compare(project: Project, port: str, vectors: int | None, progress: Callable[[int, int], None]) -> OnBoard:
    """Send held-out vectors to the board at a port, and return how its outputs compare.

    Raises: ProjectError for a project without a bitstream; UsageError for more vectors than it has; ToolError where the
    port cannot be opened, or the board does not answer.
    """
    record, inputs = bitstream_of(project), read_vectors(project).inputs
    if vectors is not None and vectors > len(inputs):
        raise UsageError(f"vectors must be 1..{len(inputs)} (what the project carries), not {vectors}")
    shell = record.get("shell", UART)
    if shell != UART:
        raise UsageError(
            f"{project.folder}: its bitstream speaks {shell.upper()}; run-board needs one with a serial line: build it "
            f"with `edgephys board --shell {UART}`"
        )
    chosen = inputs[:vectors]
    expected = evaluate.run(project.graph, chosen).reshape(len(chosen), -1)
    with project.using_facts():
        ports = dict(project.facts["input"][0]), dict(project.facts["output"][0])
    serial = host.opened(port, int(record["baud"]))
    try:
        outputs, again = host.outputs(serial, chosen, ports, progress)
    finally:
        serial.close()
    outputs = outputs.reshape(len(chosen), -1)
    places = np.argwhere(outputs != expected)
    differences = tuple((int(v), int(o), int(outputs[v, o]), int(expected[v, o])) for v, o in places)
    return OnBoard(str(record["board"]), port, len(chosen), differences, again)
