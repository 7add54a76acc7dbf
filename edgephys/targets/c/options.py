"""Options of a C project."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgephys.core.errors import UsageError
from edgephys.targets.options import option, require_choices
from edgephys.targets.rollout import HELP, require_state

STYLES = ("auto", "unrolled", "loops")
KEYWORDS = (
    "alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl const constexpr continue "
    "decltype default delete do double else enum explicit export extern false float for friend goto if inline int long "
    "mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public register restrict "
    "return short signed sizeof static struct switch template this throw true try typedef typeid typename union "
    "unsigned using virtual void volatile wchar_t while xor xor_eq main std"
)
"""What no model may be called in C or C++."""


@dataclass(frozen=True)
class COptions:
    """State the prefix of all names and how dense layers become code.

    ``style``: auto (straight-line code for layers of several rows, up to a size), unrolled (also for layers of one
    row), or loops (tables: the smallest code, for microcontrollers). ``batch``: a second source, with an entry point
    for many events. ``rollout``: channels of the state for a third source, which feeds the output back.
    Raises: UsageError for a value that cannot be.
    """

    prefix: str | None = option(None, "prefix of all names", default_text="the model's name")
    style: str = option("auto", "code of dense layers (loops is the smallest)", choices=STYLES)
    batch: bool = option(False, "also emit PREFIX_batch.c: many events in one call, a vector lane for each")

    rollout: int = option(0, HELP.format(adds="PREFIX_rollout.c, which runs steps"), default_text="0: none")

    def __post_init__(self) -> None:
        require_choices(self)
        require_state(self.rollout)
        if self.prefix is not None:
            _check_prefix(self.prefix)


def _check_prefix(prefix: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", prefix, re.ASCII) or prefix.endswith("_") or "__" in prefix:
        raise UsageError(f"prefix must be lower-case letters, digits and single _, a letter first, not '{prefix}'")
    if prefix in KEYWORDS.split():
        raise UsageError(f"prefix must be no word of C or C++, not '{prefix}'; choose another")
