"""Time compiled targets with a compiled loop: emitted C, and the C simulation of an HLS project."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgephys.bench.runners import EMPTY_CALLS, Runner, distinct
from edgephys.bench.worker import Job
from edgephys.core import builds, machine
from edgephys.core import processes as tools
from edgephys.core.fixed import Integers
from edgephys.core.scratch import temporary_folder
from edgephys.targets.c import emit
from edgephys.targets.hls import csim as simulation

LOOP = emit.MAIN.parent / "c_loop.c"
CSIM_LOOP = simulation.KERNELS / "csim_loop.cpp"
LIBRARY = "timed.so"
FLAGS = ("-std=c99", "-O3", "-march=native")
WIDE = "-mprefer-vector-width=512"
SHARED = ("-fPIC", "-shared", "-fvisibility=default", "-Wl,-Bsymbolic")
COMPILE_S = 600.0


@dataclass(eq=False)
class CompiledLoop:
    """Call a library whose loop times its own calls."""

    tool: str
    version: str
    x: NDArray[Any]
    library: ctypes.CDLL
    input_type: DTypeLike
    output_type: DTypeLike
    shape: tuple[int, ...]
    details: Mapping[str, Any] = field(default_factory=dict)

    def outputs(self, batch: int, count: int) -> NDArray[Any]:
        """Return the outputs of the first ``count`` vectors; a batch is one call, or a loop over vectors."""
        if batch > 1:
            return self._timed(self.x[:count], count, 1)[1]
        return np.concatenate([self._timed(self.x[at : at + 1], 1, 1)[1] for at in range(count)])

    def slice(self, batch: int, calls: int) -> NDArray[np.int64]:
        """Return the nanoseconds of each call."""
        places = np.arange(max(batch, min(len(self.x), distinct(self.x, batch) * batch))) % len(self.x)
        return self._timed(self.x[places], batch, calls)[0]

    def timer_ns(self) -> float:
        """Return the median time of an empty call."""
        ns = np.zeros(EMPTY_CALLS, np.int64)
        self.library.edgephys_empty(ctypes.c_size_t(len(ns)), _pointer(ns))
        return float(np.median(ns))

    def _timed(self, vectors: NDArray[Any], batch: int, calls: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        x = np.ascontiguousarray(vectors, self.input_type)
        y = np.zeros((batch, *self.shape), self.output_type)
        ns = np.zeros(calls, np.int64)
        count, batch_size, call_count = (ctypes.c_size_t(number) for number in (len(x), batch, calls))
        self.library.edgephys_slice(_pointer(x), count, _pointer(y), batch_size, call_count, _pointer(ns))
        return ns, y


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def c(job: Job, x: Integers) -> CompiledLoop:
    """Return emitted C, compiled for this processor.

    Raises: ToolError where gcc is missing or refuses it; ProjectError where a source is missing.
    """
    library = ctypes.CDLL(str(_compiled(job)))
    library.edgephys_input.restype = library.edgephys_output.restype = ctypes.c_long
    types = [_integer_type(size()) for size in (library.edgephys_input, library.edgephys_output)]
    details = {
        "flags": " ".join(native_flags("batch" in job.facts)),
        "arena_bytes": job.facts["arena_bytes"],
        **_entry(job.facts),
    }
    shape = tuple(job.facts["output"]["shape"])
    return CompiledLoop("generated C, gcc", tools.find("gcc").version, x, library, types[0], types[1], shape, details)


def native_flags(wide: bool) -> tuple[str, ...]:
    """Return the options of the compiler; ``wide`` with vectors of 512 bits, where they hold 16-bit lanes."""
    return (*FLAGS, WIDE) if wide and "avx512bw" in machine.describe()["features"] else FLAGS


def _entry(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row says of the entry point for many events, which computes the large batch."""
    if "batch" not in facts:
        return {"batch_entry": "a loop over events"}
    batch = facts["batch"]
    return {"batch_entry": f"{facts['prefix']}_run_batch", **{name: batch[name] for name in ("lanes", "one_by_one")}}


def _integer_type(size: int) -> np.dtype[Any]:
    """Return the type of integers of a size in bytes, which is negative for signed ones."""
    return np.dtype(f"{'i' if size < 0 else 'u'}{abs(size)}")


def _compiled(job: Job) -> Path:
    """Return the library of a project's source and the loop."""
    source, header = emit.sources(job.source, job.facts)
    source_files = (LOOP, source, *emit.batch_sources(job.source, job.facts))
    return shared_library(source_files, (*native_flags("batch" in job.facts), *emit.macros(job.facts)), header)


def shared_library(source_files: Sequence[Path], options: Sequence[str], header: Path | None = None) -> Path:
    """Return the shared library of C sources; the cache depends on them, the options and the processor.

    ``header`` is one that lies elsewhere.
    Raises: ToolError where gcc is missing or refuses a source.
    """
    compiler = tools.find("gcc")
    words, headers = (*options, *SHARED), [] if header is None else [header]

    def build(folder: Path) -> None:
        files = (*(f"-I{path.parent}" for path in headers), *map(str, source_files), "-lm")
        tools.run((*compiler.command, *words, *files, "-o", LIBRARY), folder, COMPILE_S)

    processor = machine.describe()
    native = (str(processor["processor"]), str(processor["family"]), *processor["features"])
    key = builds.content_key([*source_files, *headers], compiler.version, *words, *native)
    return builds.built(key, build) / LIBRARY


def csim(job: Job, x: Integers) -> Runner:
    """Return the C simulation of an HLS project, whose weights are read from its headers.

    Raises: as ``targets.hls.csim.simulate``.
    """
    extra = (*SHARED, "-DWEIGHTS_DIR=edgephys_weights")
    program = simulation.compile_project(job.source, job.facts, CSIM_LOOP, extra, LIBRARY)
    library = ctypes.CDLL(str(program))
    with temporary_folder("bench") as scratch:
        simulation.write_weights(job.source / "firmware" / "weights", scratch / "weights")
        library.edgephys_open(os.fsencode(scratch / "weights"))
        shape, details = tuple(job.facts["output"]["shape"]), {"flags": " ".join(simulation.FLAGS)}
        version = tools.find("g++").version
        runner = CompiledLoop("C simulation, g++", version, x, library, np.int64, np.int64, shape, details)
        runner.outputs(1, 1)  # the first call reads the weights
    return runner
