"""What a latency was measured on: the processor, what it can do, its clock's governor and the load beside us."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgephys.core.errors import UsageError

CPUINFO = Path("/proc/cpuinfo")
GOVERNOR = "/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"

FEATURES = ("avx", "avx2", "fma", "f16c", "avx512", "vnni", "bf16", "amx", "asimd", "sve")
"""Flags of a processor that decide how fast products go: those that are one of these, or hold one of the last seven."""
WHOLE = FEATURES[:4]

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
"""What keeps the libraries of a runtime to one thread; read when they are loaded, so set before a process starts."""


def describe(core: int | None, cpuinfo: Path = CPUINFO) -> dict[str, Any]:
    """Return the processor's name and features, its cores, and the governor of the core that is measured on."""
    stated = _stated(cpuinfo)
    flags = stated.get("flags", stated.get("Features", "")).split()
    governor = Path(GOVERNOR.format(core=core or 0))
    return {
        "processor": stated.get("model name", platform.processor() or "not told"),
        "family": " ".join(stated[name] for name in ("cpu family", "model", "stepping") if name in stated),
        "architecture": platform.machine(),
        "features": [flag for flag in flags if flag in WHOLE or any(part in flag for part in FEATURES[4:])],
        "virtual": "hypervisor" in flags,
        "cores": os.cpu_count(),
        "core": core,
        "governor": governor.read_text().strip() if governor.is_file() else None,
        "python": platform.python_version(),
    }


def _stated(cpuinfo: Path) -> dict[str, str]:
    """Return what the system states of its first processor."""
    if not cpuinfo.is_file():
        return {}
    first = cpuinfo.read_text().split("\n\n", 1)[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def load() -> list[float]:
    """Return how many processes wanted a core, on average over 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def choose(core: int | None = None) -> int | None:
    """Return the core to measure on: the last we may use where none is given; None where none can be chosen.

    Raises: UsageError for a core that we may not use.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = os.sched_getaffinity(0)
    if core is None:
        return max(allowed)
    if core not in allowed:
        raise UsageError(f"core must be one of {_told(sorted(allowed))}, which this process may use, not {core}")
    return core


def _told(cores: Iterable[int]) -> str:
    return ", ".join(map(str, cores))


def pin(core: int | None) -> None:
    """Keep this process, and what it starts, on one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


@contextmanager
def one_thread() -> Iterator[None]:
    """Let processes that start within keep to one thread; the environment is afterwards as it was."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
