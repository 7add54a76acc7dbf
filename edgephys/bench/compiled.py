"""Time compiled targets from a compiled loop: emitted C, and the C simulation of an HLS project."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgephys.bench.runners import EMPTY_CALLS, Runner, distinct
from edgephys.bench.worker import Job
from edgephys.core import machine
from edgephys.core import processes as tools
from edgephys.core.errors import ProjectError
from edgephys.core.fixed import Integers
from edgephys.targets.hls import csim as simulation

LOOP = simulation.KERNELS / "c_loop.c"
CSIM_LOOP = simulation.KERNELS / "csim_loop.cpp"
LIBRARY = "timed.so"
FLAGS = ("-std=c99", "-O3", "-march=native")
SHARED = ("-fPIC", "-shared", "-fvisibility=default", "-Wl,-Bsymbolic")
COMPILE_S = 600.0


@dataclass(eq=False)
class Compiled:
    """Call a library whose loop times its own calls."""

    tool: str
    version: str
    x: Integers
    library: ctypes.CDLL
    given: DTypeLike
    found: DTypeLike
    shape: tuple[int, ...]
    told: Mapping[str, Any] = field(default_factory=dict)
    _vectors: NDArray[Any] | None = None

    def outputs(self, batch: int, count: int) -> NDArray[Any]:
        """Return what it makes of the first ``count`` vectors; a batch is a loop over vectors."""
        _, y = self._timed(self.x[:count], count, 1)
        return y

    def slice(self, batch: int, calls: int) -> NDArray[np.int64]:
        """Return the nanoseconds of each call."""
        ns, _ = self._timed(self.x[: distinct(self.x, batch) * batch], batch, calls)
        return ns

    def timer_ns(self) -> float:
        """Return the median time of calling nothing."""
        ns = np.zeros(EMPTY_CALLS, np.int64)
        self.library.edgephys_empty(ctypes.c_size_t(len(ns)), _pointer(ns))
        return float(np.median(ns))

    def _timed(self, x: Integers, batch: int, calls: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        given = np.ascontiguousarray(x, self.given)
        y = np.zeros((batch, *self.shape), self.found)
        ns = np.zeros(calls, np.int64)
        sizes = [ctypes.c_size_t(number) for number in (len(given), batch, calls)]
        self.library.edgephys_slice(_pointer(given), sizes[0], _pointer(y), sizes[1], sizes[2], _pointer(ns))
        return ns, y


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def c(job: Job, x: Integers) -> Runner:
    """Return emitted C, compiled for this processor.

    Raises: ToolError where gcc is missing or refuses it; ProjectError where a source is gone.
    """
    library = ctypes.CDLL(str(_built(job)))
    library.edgephys_input.restype = library.edgephys_output.restype = ctypes.c_long
    given, found = _integers(library.edgephys_input()), _integers(library.edgephys_output())
    compiler = tools.find("gcc")
    told = {"flags": " ".join(FLAGS), "arena_bytes": job.facts["arena_bytes"]}
    shape = tuple(job.facts["output"]["shape"])
    return Compiled("generated C, gcc", compiler.version, x, library, given, found, shape, told)


def _integers(told: int) -> np.dtype[Any]:
    return np.dtype(f"{'i' if told < 0 else 'u'}{abs(told)}")


def _built(job: Job) -> Path:
    """Return the library of a project's sources and our loop, compiled where either or the processor changed."""
    facts, compiler = job.facts, tools.find("gcc")
    prefix = str(facts["prefix"])
    named = (facts.get("header", f"{prefix}.h"), facts.get("source", f"{prefix}.c"))
    header, source = (job.source.resolve() / str(name) for name in named)
    for path in (header, source):
        if not path.is_file():
            raise ProjectError(f"{path} is missing; emit the project again")
    names = {
        "HEADER": f'"{header.name}"',
        "RUN": f"{prefix}_run",
        "INPUT": f"{prefix}_input_t",
        "OUTPUT": f"{prefix}_output_t",
        "ARENA_BYTES": f"{prefix.upper()}_ARENA_BYTES",
        "INPUTS": prod(facts["input"]["shape"]),
        "OUTPUTS": prod(facts["output"]["shape"]),
    }
    defined = [f"-D{name}={value}" for name, value in names.items()]

    def build(home: Path) -> None:
        shared = (*FLAGS, *SHARED, *defined, f"-I{header.parent}")
        tools.run((*compiler.command, *shared, str(LOOP), str(source), "-o", LIBRARY), home, COMPILE_S)

    processor = machine.describe(None)
    native = (str(processor["processor"]), str(processor["family"]), *processor["features"])
    key = tools.content_key([LOOP, job.source], compiler.version, *FLAGS, *SHARED, *defined, *native)
    return tools.built(key, build) / LIBRARY


def csim(job: Job, x: Integers) -> Runner:
    """Return the C simulation of an HLS project, whose weights are read from its headers.

    Raises: as ``firmware.csim.simulate``.
    """
    extra = (*SHARED, "-DWEIGHTS_DIR=edgephys_weights")
    built = simulation.compile_project(job.source, job.facts, CSIM_LOOP, extra, LIBRARY)
    library = ctypes.CDLL(str(built))
    weights = Path(tempfile.mkdtemp(prefix="edgephys-bench-")) / "weights"
    compiler = tools.find("g++")
    simulation.write_weights(job.source / "firmware" / "weights", weights)
    library.edgephys_open(os.fsencode(weights))
    shape, told = tuple(job.facts["output"]["shape"]), {"flags": " ".join(simulation.FLAGS)}
    made = Compiled("C simulation, g++", compiler.version, x, library, np.int64, np.int64, shape, told)
    made.outputs(1, 1)  # the first call reads the weights
    shutil.rmtree(weights.parent)
    return made
