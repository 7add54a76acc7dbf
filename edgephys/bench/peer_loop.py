"""Time C or C++ of a peer, which computes one vector of real values a call, with the loop that times emitted C."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.bench.compiled_runtime import COMPILE_S, FLAGS, LIBRARY, LOOP, SHARED, CompiledLoop
from edgephys.bench.onnx_runtime import fractions
from edgephys.bench.worker import Job
from edgephys.core import builds, machine
from edgephys.core import processes as tools
from edgephys.core.fixed import Integers
from edgephys.targets.c import emit

NAME = "peer"
HEADER = """#define PEER_ARENA_BYTES 0
#define PEER_INPUTS {inputs}
#define PEER_OUTPUTS {outputs}
typedef float peer_input_t;
typedef float peer_output_t;
#ifdef __cplusplus
extern "C"
#endif
void peer_run(const float *x, float *y, void *arena);
"""


@dataclass(eq=False)
class RealLoop(CompiledLoop):
    """Call a library that computes real values; ``steps`` turns them into steps of the output's format."""

    steps: float = 1.0

    def outputs(self, batch: int, count: int) -> NDArray[Any]:
        """Return the outputs of the first ``count`` vectors, in steps; a batch is a loop over vectors."""
        return super().outputs(batch, count).astype(np.float64) * self.steps


@dataclass(frozen=True)
class PeerSource:
    """State the source of a peer that defines ``peer_run``, what writes it into a folder, and how it is compiled.

    ``options`` follow the source on the command line; ``key`` is all that the written files depend on.
    """

    file: str
    write: Callable[[Path], None]
    key: Sequence[str]
    options: Sequence[str] = ()


def peer_library(job: Job, source: PeerSource) -> Path:
    """Return the folder with the compiled library of a peer for the shapes of a job, and with what it was made of.

    Raises: ToolError where gcc or g++ is missing or refuses the source, and as ``source.write`` does.
    """
    compilers = [tools.find(name) for name in ("gcc", "g++")]
    shapes = [prod(job.facts[end]["shape"]) for end in ("input", "output")]
    macros = emit.macros({"prefix": NAME})

    def build(folder: Path) -> None:
        (folder / f"{NAME}.h").write_text(HEADER.format(inputs=shapes[0], outputs=shapes[1]))
        source.write(folder)
        compiler = compilers[source.file.endswith(".cpp")]
        options = [flag for flag in FLAGS if compiler is compilers[0] or not flag.startswith("-std")]
        loop = (*compilers[0].command, *FLAGS, "-fPIC", *macros, "-I.", "-c", str(LOOP), "-o", "loop.o")
        tools.run(loop, folder, COMPILE_S)
        last = (*compiler.command, *options, *SHARED, "-I.", source.file, "loop.o", *source.options, "-o", LIBRARY)
        tools.run(last, folder, COMPILE_S)

    processor = machine.describe()
    native = (str(processor["processor"]), str(processor["family"]), *processor["features"])
    versions = [compiler.version for compiler in compilers]
    facts = (*source.key, *source.options, *versions, *FLAGS, *SHARED, *macros, HEADER, *map(str, shapes), *native)
    return builds.built(builds.content_key([LOOP, job.source], *facts), build)


def real_loop(job: Job, x: Integers, folder: Path, tool: str, version: str, details: Mapping[str, Any]) -> RealLoop:
    """Return the runner of a peer's library, with inputs in real values."""
    input_fraction, output_fraction = fractions(job)
    values = np.ascontiguousarray(x * 2.0**-input_fraction, np.float32)
    library = ctypes.CDLL(str(folder / LIBRARY))
    shape = tuple(job.facts["output"]["shape"])
    parts = {"batch_entry": "a loop over events", **details}
    return RealLoop(tool, version, values, library, np.float32, np.float32, shape, parts, 2.0**output_fraction)
