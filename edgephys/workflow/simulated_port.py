"""A port for `run-board` without a board: a pseudo-terminal, behind it the RTL of the board's top level, simulated."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgephys.core.errors import ToolError
from edgephys.core.scratch import temporary_folder
from edgephys.project import Project
from edgephys.targets.rtl.board import simulate
from edgephys.targets.rtl.board.framing import read_frame
from edgephys.targets.rtl.board.registry import board_of
from edgephys.targets.rtl.board.top import BoardTop
from edgephys.workflow.board import bitstream_of

SIMULATED = "simulated"
"""Word that stands for such a port on the command line."""
WAIT_S = 0.02
MOST_BYTES = 4096


@contextmanager
def simulated_port(project: Project) -> Iterator[str]:
    """Yield the name of a port at which a project's board is simulated: serial line, shell and network, as RTL.

    Raises: ProjectError for a project without a bitstream; ToolError without the simulator.
    """
    record = bitstream_of(project)
    with project.using_facts():
        top = BoardTop(board_of(str(record["board"])), project.facts, int(record["baud"]))
        with temporary_folder("board") as folder:
            sources = [*top.write(folder), *(project.firmware / name for name in project.facts["sources"])]
            board = simulate.of_rtl(top, sources)
    with served(lambda request: board.answers([request])[0]) as port:
        yield port


@contextmanager
def served(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """Yield the name of a pseudo-terminal at which ``answer`` gives the bytes after each request."""
    import pty
    import tty

    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    ended = threading.Event()
    thread = threading.Thread(target=_serve, args=(ours, answer, ended), daemon=True)
    thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        ended.set()
        thread.join()
        os.close(ours)
        os.close(theirs)


def _serve(line: int, answer: Callable[[bytes], bytes], ended: threading.Event) -> None:
    request = b""
    while not ended.is_set():
        if not select.select([line], [], [], WAIT_S)[0]:
            continue
        request += os.read(line, MOST_BYTES)
        if _is_whole(request):
            os.write(line, answer(request))
            request = b""


def _is_whole(request: bytes) -> bool:
    """Tell whether bytes are a frame, or cannot become one any more."""
    try:
        return read_frame(request) is not None
    except ToolError:
        return True
