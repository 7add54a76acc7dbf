"""The machine that a figure was measured on, and what keeps a measurement on one core and one thread."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgephys.core.errors import ToolError, UsageError

CPUINFO = Path("/proc/cpuinfo")
GOVERNOR = "/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"

FEATURES = ("avx", "avx2", "fma", "f16c")
FEATURE_PARTS = ("avx512", "vnni", "bf16", "amx", "asimd", "sve")
"""Flags of a processor that decide how fast it multiplies: these, and every flag that contains one of the parts."""

ONE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    )
}
"""Variables that keep numerical libraries to one thread. They read them when they are loaded."""


def describe(core: int | None = None, cpuinfo: Path = CPUINFO) -> dict[str, Any]:
    """Return the processor's name and features, the number of cores, and the frequency governor of ``core``."""
    processor = _first_processor(cpuinfo)
    flags = processor.get("flags", processor.get("Features", "")).split()
    governor = Path(GOVERNOR.format(core=core or 0))
    return {
        "processor": processor.get("model name", platform.processor() or "processor not named"),
        "family": " ".join(processor[key] for key in ("cpu family", "model", "stepping") if key in processor),
        "architecture": platform.machine(),
        "features": [flag for flag in flags if flag in FEATURES or any(part in flag for part in FEATURE_PARTS)],
        "virtual": "hypervisor" in flags,
        "cores": os.cpu_count(),
        "core": core,
        "governor": governor.read_text().strip() if governor.is_file() else None,
        "python": platform.python_version(),
    }


def name() -> str:
    """Return the machine in one line: architecture, processor, cores and the version of Python."""
    machine = describe()
    return f"{machine['architecture']}, {machine['processor']}, {machine['cores']} cores, Python {machine['python']}"


def _first_processor(cpuinfo: Path) -> dict[str, str]:
    """Return the fields of the first processor that the system lists."""
    if not cpuinfo.is_file():
        return {}
    lines = cpuinfo.read_text().split("\n\n", 1)[0].splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def load() -> list[float]:
    """Return the load averages over 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def choose(core: int | None = None) -> int | None:
    """Return the core to measure on, by default the last one; None where the system cannot pin a process to a core.

    Raises: UsageError for a core that this process may not use.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0))
    if core is None:
        return allowed[-1]
    if core not in allowed:
        cores = ", ".join(map(str, allowed))
        raise UsageError(f"core must be one of {cores}, which this process may use, not {core}")
    return core


def pin(core: int | None) -> None:
    """Keep this process, and the processes that it starts, on one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


@contextmanager
def one_core() -> Iterator[int]:
    """Keep this thread, and the threads that it starts, on one core; yield the core.

    Load numerical libraries inside: they start as many threads as there are cores when they are loaded.
    Raises: ToolError where the system cannot pin a thread.
    """
    core = choose()
    if core is None:
        raise ToolError(f"timing: one core of its own needs Linux, found {platform.system()}; measure there")
    before = os.sched_getaffinity(0)
    pin(core)
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)


def require_one_core() -> None:
    """Check that all threads of this process are kept on the same core.

    Raises: ToolError where one is not: it was started before ``one_core``.
    """
    threads = [int(path.name) for path in Path("/proc/self/task").iterdir()]
    cores = set().union(*(os.sched_getaffinity(thread) for thread in threads))
    if len(cores) > 1:
        raise ToolError(
            f"timing: expected one core for all {len(threads)} threads, found {len(cores)} cores; run it as a command "
            "of its own, where nothing was loaded before"
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """Set ONE_THREAD for the processes that start inside; restore the environment afterwards."""
    before = {variable: os.environ.get(variable) for variable in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for variable, value in before.items():
            if value is None:
                del os.environ[variable]
            else:
                os.environ[variable] = value
