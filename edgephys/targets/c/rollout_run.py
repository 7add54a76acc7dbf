"""Compile and run the roll-out of an emitted C project."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core import builds
from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ProjectError
from edgephys.core.fixed import Integers
from edgephys.core.scratch import temporary_folder
from edgephys.targets import sanitiser
from edgephys.targets.c import emit
from edgephys.targets.emit_again import emit_again
from edgephys.targets.rollout import RUNS
from edgephys.targets.vectors import require_vectors

MAIN = emit.MAIN.with_name("run_rollout_main.c")


def run(folder: Path, facts: Mapping[str, Any], x: Integers, flags: tuple[str, ...] = emit.FLAGS) -> Integers:
    """Return the states after ``targets.rollout.STEPS``.

    Shape: x (vector, *input shape) -> (vector, reading, *input shape).  Exact: integers in and out.
    Raises: ToolError where gcc or the program fails; MismatchError for missing states, or for an access outside of
    the program's memory in a build with checks; ProjectError where a source is missing.
    """
    shape = facts["input"]["shape"]
    x = require_vectors("C target", x, shape).astype(np.int64)
    program = _compiled(folder, facts, flags)
    with temporary_folder("c") as scratch:
        x.tofile(scratch / "x")
        names = [path.name for path in _sources(folder, facts)]
        sanitiser.run([str(program), "x", "y", str(len(x))], scratch, emit.RUN_S, names)
        states = np.fromfile(scratch / "y", np.int64)
    if states.size != len(x) * len(RUNS) * prod(shape):
        raise MismatchError(f"C target {folder}: {states.size} integers of states for {len(x)} vectors")
    return states.reshape(len(x), len(RUNS), *shape)


def _sources(folder: Path, facts: Mapping[str, Any]) -> tuple[Path, Path]:
    source, _ = emit.sources(folder, facts)
    own = source.with_name(f"{facts['prefix']}_rollout.c")
    if not own.is_file():
        raise ProjectError(f"{folder}: {own.name} is missing; {emit_again(folder, 'c')}")
    return source, own


def _compiled(folder: Path, facts: Mapping[str, Any], flags: tuple[str, ...]) -> Path:
    prefix, upper = facts["prefix"], facts["prefix"].upper()
    names = {
        "ROLLOUT": f"{prefix}_rollout",
        "ROLLOUT_ALIGNMENT": f"{upper}_ROLLOUT_ARENA_ALIGNMENT",
        "ROLLOUT_ARENA_BYTES": f"{upper}_ROLLOUT_ARENA_BYTES",
        "RUNS": ", ".join(str(sum(runs)) for runs in RUNS),
    }
    words = (*flags, *emit.macros(facts), *(f"-D{name}={value}" for name, value in names.items()))
    compiled_files, header = (*_sources(folder, facts), MAIN), emit.sources(folder, facts)[1]
    compiler = tools.find("gcc")

    def build(scratch: Path) -> None:
        files = (f"-I{header.parent}", *map(str, compiled_files))
        tools.run((*compiler.command, *words, *files, "-o", "run"), scratch, emit.COMPILE_S)

    return builds.built(builds.content_key([*compiled_files, header], compiler.version, *words), build) / "run"
