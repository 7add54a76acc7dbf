"""Check the emitted HLS against the published rules of Vitis HLS and Catapult, on the syntax tree of libclang.

Only code that the top function reaches is checked, without what ``__SYNTHESIS__`` excludes and without the bodies of
the vendor's types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgephys.core import processes
from edgephys.core.errors import ToolError
from edgephys.targets import lint
from edgephys.targets.hls import libclang, loop_rules, pragmas, syntax, synthesis_rules
from edgephys.targets.target import Lint

TOOL = "libclang"
RULES = (
    Path(__file__),
    *(Path(module.__file__ or "") for module in (libclang, loop_rules, pragmas, synthesis_rules, syntax)),
)
"""The modules that decide what is a finding: a change of them makes old results void."""


def of_project(folder: Path, facts: Mapping[str, Any]) -> Lint:
    """Return what breaks a rule in the sources below ``folder``, a line each.

    A project that libclang cannot read because of headers from outside of it is skipped.
    """
    try:
        compiler = processes.find("g++")
        version = syntax.version()
        files = [*RULES, *(path for path in sorted((folder / "firmware").iterdir()) if path.name != "weights")]

        def read(scratch: Path) -> list[str]:
            return list(_findings(folder, facts, scratch))

        keyed = (compiler.version, str(facts["top"]), str(facts["backend"]))
        return lint.cached(TOOL, version, files, keyed, read)
    except syntax.ParseError as error:
        if error.place is None:
            return Lint(TOOL, version, skipped=f"libclang cannot read the headers of this g++: {error}")
        return Lint(TOOL, version, (lint.finding(error.place.path, error.place.line, "syntax", str(error)),))
    except ToolError as error:
        return lint.missing(TOOL, error)


def _findings(folder: Path, facts: Mapping[str, Any], scratch: Path) -> Iterator[str]:
    lines = []
    for top in (facts["top"], *([facts["rollout"]["top"]] if "rollout" in facts else [])):
        program = syntax.read(folder, {**facts, "top": top}, scratch)
        for cursor, what, rule in synthesis_rules.broken(program):
            if top != facts["top"] and cursor.spelling == facts["top"] and rule.name == "missing-body":
                continue  # it is in the file beside, and checked there
            place = program.place(cursor)
            detail = f"{what} cannot be synthesised (UG1399, {rule.source})"
            lines.append((place.path, place.line, rule.name, detail))
        broken = pragmas.broken(program, facts["backend"])
        lines += [(wrong.path, wrong.line, wrong.rule, wrong.detail) for wrong in broken]
    ordered = sorted(dict.fromkeys(lines), key=lambda line: line[:2])
    yield from (lint.finding(*line) for line in ordered)  # once for all instances of a template
