"""C simulation of an emitted HLS project: the emitted sources, compiled with g++ and run on all cores.

The constants come from the weights headers, which the vendor's synthesis reads. hls4ml's C simulation reads text files
instead, so these are written from the headers before every run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core import builds
from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ProjectError, ToolError
from edgephys.core.fixed import Integers
from edgephys.core.names import real_path
from edgephys.core.scratch import temporary_folder
from edgephys.targets import sanitiser
from edgephys.targets.emit_again import emit_again
from edgephys.targets.rollout import RUNS
from edgephys.targets.vectors import edges_of, require_vectors

COMPILE_S = 1800.0
RUN_S = 3600.0
FLAGS = ("-std=c++17", "-O2", "-pthread", "-w", "-fmax-errors=1", "-DEDGEPHYS_PROBE")
SANITISED = ("-O1", *sanitiser.FLAGS, "-fno-sanitize=shift,alignment,vptr")
"""AMD's number types shift negative integers to the left, which C++ defines from C++20 on; pointers are never cast, and
nothing is virtual."""

SLOW = "INLINE void clearUnusedBits(void) volatile"
"""A qualifier in ap_private.h that sends every product through memory. Without it the same arithmetic runs five times
as fast. The simulation reads a copy of the header without it; the header in the project is not changed."""

KERNELS = Path(__file__).parent / "kernels"
MAIN = KERNELS / "csim_main.cpp"
"""The main program: it reads vectors, calls the emitted top function on several threads, and writes integers."""

AMD = (KERNELS / "csim_ap.h", ("ap_types",))
SIEMENS = (KERNELS / "csim_ac.h", ("ac_types/include", "ac_math/include", "ac_simutils/include", "nnet_utils"))
TYPES = {"Vitis": AMD, "Vivado": AMD, "Catapult": SIEMENS}
"""For each backend, the header that reads and writes its number types, and its folders of headers in the project."""


def simulate(folder: Path, facts: Mapping[str, Any], x: Integers) -> Integers:
    """Return the outputs of the emitted sources, in steps of the output's format.

    Shape: x (vector, *input shape) -> (vector, *output shape).  Exact: integers in and out.
    Raises: ToolError where g++ or the simulation fails; MismatchError for no vectors in or fewer out, or a
    program that fails because of an access outside of an array; ProjectError for a project that lacks sources.
    """
    shape = facts["output"]["shape"]
    try:
        return _run(folder, facts, x, prod(shape), "outputs").reshape(len(x), *shape)
    except ToolError:
        simulate_sanitised(folder, facts, x[: sanitiser.most(prod(facts["input"]["shape"]))])
        raise


def simulate_sanitised(folder: Path, facts: Mapping[str, Any], x: Integers) -> Integers:
    """Return the outputs of the sources, compiled with checks of every memory access and of their arithmetic.

    Shape: x (vector, *input shape) -> (vector, *output shape).  Exact: integers in and out.
    Raises: MismatchError for the first access outside of an array; else as ``simulate``.
    """
    shape = facts["output"]["shape"]
    return _run(folder, facts, x, prod(shape), "outputs", SANITISED).reshape(len(x), *shape)


def simulate_rollout(folder: Path, facts: Mapping[str, Any], x: Integers, extra: tuple[str, ...] = ()) -> Integers:
    """Return the states after ``targets.rollout.STEPS``, compiled with ``extra`` flags.

    Shape: x (vector, *input shape) -> (vector, reading, *input shape).  Exact: integers in and out.
    Raises: as ``simulate``; MismatchError for an access outside of an array in a build with checks.
    """
    shape, name = facts["input"]["shape"], facts["rollout"]["top"]
    flags: tuple[str, ...] = (f"-DROLLOUT={name}", f'-DROLLOUT_SOURCE="firmware/{name}.cpp"', f"-DREADINGS={len(RUNS)}")
    flags += (f"-DRUNS={', '.join(str(sum(runs)) for runs in RUNS)}", *extra)
    states = _run(folder, facts, x, len(RUNS) * prod(shape), "outputs", flags)
    return states.reshape(len(x), len(RUNS), *shape)


def probe(folder: Path, facts: Mapping[str, Any], x: Integers) -> dict[str, Integers]:
    """Return the integers of the emitted sources at the end of every layer, by layer.

    Shape: x (vector, *input shape) -> each (vector, *shape).  Raises: as ``simulate``.
    """
    probes = facts["probes"]
    y = _run(folder, facts, x, sum(prod(entry["shape"]) for entry in probes), "probes")
    edges = {facts["input"]["node"]: np.asarray(x, np.int64), **edges_of(y, probes)}
    return {layer: edges[entry["node"]] for layer, entry in facts["layers"].items()}


def _run(
    folder: Path, facts: Mapping[str, Any], x: Integers, results: int, what: str, extra: tuple[str, ...] = ()
) -> Integers:
    x = require_vectors("C simulation", x, facts["input"]["shape"]).astype(np.int64)
    program = compile_project(folder, facts, extra=extra)
    with temporary_folder("csim") as scratch:
        write_weights(folder / "firmware" / "weights", scratch / "weights")
        x.tofile(scratch / "x")
        threads = max(1, min(len(os.sched_getaffinity(0)), len(x)))
        words = [str(program), "x", "y", str(len(x)), str(threads), what]
        sources = [f"{facts['top']}.cpp", *([f"{facts['rollout']['top']}.cpp"] if "rollout" in facts else [])]
        said = sanitiser.run(words, scratch, RUN_S, sources)  # it calls a layer a line
        if "ERROR" in said or "WARNING" in said:  # of a stream that is read while empty, or not to its end
            raise ToolError(f"C simulation of {folder}: {said.strip().splitlines()[0]}")
        y = np.fromfile(scratch / "y", np.int64)
    if y.size != len(x) * results:
        raise MismatchError(f"C simulation of {folder}: {y.size // results} outputs for {len(x)} vectors")
    return y.reshape(len(x), results)


def write_weights(headers: Path, texts: Path) -> None:
    """Write the text files of constants for the C simulation, from the weights headers.

    Raises: ProjectError where a header does not hold as many numbers as it declares.
    """
    texts.mkdir()
    for path in sorted(headers.glob("*.h")):
        _, count, numbers = _declared(path)
        if len(numbers.split(",")) != count:
            raise ProjectError(
                f"{path}: declares {count} numbers and holds {len(numbers.split(','))}; {emit_again(path, 'hls')}"
            )
        (texts / f"{path.stem}.txt").write_text(numbers)


def _declared(path: Path) -> tuple[str, int, str]:
    """Return the declaration in a weights header, its size and its numbers."""
    declaration = re.search(r"#else\s+(\w+ \w+\[(\d+)\]) = \{([^}]*)\};", path.read_text())
    if declaration is None:
        raise ProjectError(f"{path}: not a weights header of ours; {emit_again(path, 'hls')}")
    return declaration[1], int(declaration[2]), declaration[3]


def compile_project(
    folder: Path, facts: Mapping[str, Any], main: Path = MAIN, extra: tuple[str, ...] = (), name: str = "csim"
) -> Path:
    """Return the compiled program of an emitted project, compiled again only after a change beside the constants.

    ``main`` is the source that calls the top function; ``extra`` are further flags, to make a library ``name`` instead.
    """
    folder = real_path(folder)
    sources = folder / "firmware"
    top = facts["top"]
    if not (sources / f"{top}.cpp").is_file() or not (sources / "weights").is_dir():
        raise ProjectError(f"{folder}: firmware/{top}.cpp or firmware/weights is missing; {emit_again(folder, 'hls')}")
    compiler = tools.find("g++")
    sizes: tuple[str, ...] = (
        f"-DTOP={top}",
        f"-DINPUTS={prod(facts['input']['shape'])}",
        f"-DOUTPUTS={prod(facts['output']['shape'])}",
    )
    results = f"-DRESULTS={sum(prod(entry['shape']) for entry in facts['probes'])}"
    sizes += ("-DSTREAMED",) if facts["io_type"] == "io_stream" else ()
    access, folders = TYPES[facts["backend"]]
    include = [".", str(folder), *(str(sources / name) for name in folders)]
    files = (f'-DTYPES="{access}"', f'-DTOP_SOURCE="firmware/{top}.cpp"', '-DSTORAGE="storage.h"')
    slow = sources / "ap_types" / "etc" / "ap_private.h"

    weights = [_declared(path)[0] for path in sorted((sources / "weights").glob("*.h"))]
    external = TYPES[facts["backend"]] is SIEMENS  # only declared in these headers

    def build(home: Path) -> None:
        (home / "storage.h").write_text("".join(f"{weight};\n" for weight in weights if external))
        if slow.is_file():
            (home / "etc").mkdir()
            (home / "etc" / slow.name).write_text(slow.read_text().replace(SLOW, SLOW.removesuffix(" volatile")))
        flags = (*FLAGS, *sizes, results, *files, *(f"-I{path}" for path in include), *extra)
        tools.run((*compiler.command, *flags, str(main), "-o", name), home, COMPILE_S)

    others = [path for path in sorted(sources.iterdir()) if path.name != "weights"]
    mains = list(dict.fromkeys((MAIN, main)))
    settings = (compiler.version, SLOW, *FLAGS, *sizes, results, *weights, *extra)
    key = builds.content_key([*mains, access, *others], *settings)
    return builds.built(key, build) / name
