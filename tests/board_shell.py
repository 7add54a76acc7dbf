"""A board at a pseudo-terminal: what edgephys_shell.v does, in Python, around any function of a payload."""

import os
import pty
import select
import threading
import tty

from edgephys.core.errors import ToolError
from edgephys.targets.rtl.board.framing import ERROR, REQUEST, RESULT, LineFrame, read_frame


class PtyBoard:
    """Answer requests on a pseudo-terminal with ``answer(request bytes) -> bytes``; ``port`` is its other end."""

    def __init__(self, answer):
        self.answer = answer
        self.ours, theirs = pty.openpty()
        tty.setraw(theirs)
        self.theirs, self.port = theirs, os.ttyname(theirs)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join(10)
        os.close(self.ours)
        os.close(self.theirs)

    def _serve(self):
        data = b""
        while not self.ended.is_set():
            if not select.select([self.ours], [], [], 0.02)[0]:
                continue
            data += os.read(self.ours, 4096)
            if whole(data):
                os.write(self.ours, self.answer(data))
                data = b""


def whole(data):
    """Tell whether bytes are a frame, or cannot become one any more."""
    try:
        return read_frame(data) is not None
    except ToolError:
        return True


def shell(compute):
    """Return the answer of a board whose network turns a payload into another one."""

    def answer(data):
        try:
            return LineFrame(RESULT, compute(read_frame(data).payload)).to_bytes()
        except ToolError:
            return LineFrame(ERROR, b"\x03").to_bytes()

    return answer


def malformed(good):
    """Return (what is sent, the reason of the answer) for every way in which a frame can be wrong."""
    broken = bytes([good[-1] ^ 1])
    return [
        (good[:-1] + broken, 3),
        (b"\x00\x01\x02", 1),
        (bytes([REQUEST, good[1] + 1]) + good[2:], 2),
        (bytes([REQUEST, good[1], 1]) + good[3:], 2),
        (good[:-2], 4),
        (good[:1], 4),
        (bytes([REQUEST]) + b"\xff" * 300, 2),
    ]
