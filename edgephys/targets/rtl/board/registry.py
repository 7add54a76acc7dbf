"""The boards that there are, by name."""

from __future__ import annotations

from edgephys.core.errors import UsageError
from edgephys.targets.rtl.board import icebreaker, orangecrab_25f, orangecrab_85f, tang_mega_138k, ulx3s_85f
from edgephys.targets.rtl.board.board import FpgaBoard

BOARDS: dict[str, FpgaBoard] = {}


def register(board: FpgaBoard) -> None:
    """Add a board under its name."""
    BOARDS[board.name] = board


for module in (ulx3s_85f, orangecrab_25f, orangecrab_85f, icebreaker, tang_mega_138k):
    register(module.BOARD)


def board_of(name: str) -> FpgaBoard:
    """Return the board of a name; raise UsageError for a name that there is not."""
    if name not in BOARDS:
        raise UsageError(f"board must be one of {', '.join(BOARDS)}, not '{name}'; `edgephys boards` lists them")
    return BOARDS[name]
