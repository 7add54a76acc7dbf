"""Run an emitted ONNX model as C++ that SOFIE generates, one event a call, on SciPy's OpenBLAS."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from pathlib import Path
from typing import Any

from edgephys.bench.compiled_runtime import LIBRARY
from edgephys.bench.peer_loop import NAME, PeerSource, peer_library, real_loop
from edgephys.bench.peers import imported
from edgephys.bench.plain_onnx import write_plain
from edgephys.bench.runners import Runner
from edgephys.bench.worker import Job
from edgephys.core.errors import ToolError
from edgephys.core.fixed import Integers

REVISION = "1"
WEIGHTS = f"{NAME}.dat"
SOURCE = f"""#include "{NAME}.h"
#include "{NAME}.hxx"
static SOFIE_{NAME}::Session *session;
extern "C" void edgephys_open(const char *weights) {{ session = new SOFIE_{NAME}::Session(weights); }}
extern "C" void {NAME}_run(const float *x, float *y, void *) {{
    const std::vector<float> outputs = session->infer(x);
    std::copy(outputs.begin(), outputs.end(), y);
}}
"""


def sofie(job: Job, x: Integers) -> Runner:
    """Return the C++ of SOFIE for the model in plain operators: SOFIE has no QuantizeLinear.

    Raises: ToolError where SOFIE, SciPy's OpenBLAS or a compiler is missing, or SOFIE refuses an operator.
    """
    package = imported("sofie")

    def write(folder: Path) -> None:
        write_plain(job.source, folder / f"{NAME}.onnx")
        _generate(package, folder)
        (folder / f"{NAME}.cpp").write_text(SOURCE)

    key = (package.__version__, REVISION, SOURCE)
    folder = peer_library(job, PeerSource(f"{NAME}.cpp", write, key, ("-std=c++20", *_blas())))
    ctypes.CDLL(str(folder / LIBRARY)).edgephys_open(os.fsencode(folder / WEIGHTS))
    return real_loop(job, x, folder, "SOFIE, g++", package.__version__, {"blas": "SciPy's OpenBLAS"})


def _generate(package: Any, folder: Path) -> None:
    """Write SOFIE's header and weights for the ONNX file of a folder."""
    try:
        model = package.onnx.parse(folder / f"{NAME}.onnx")
        model.generate()
        model.output_generated(str(folder / f"{NAME}.hxx"))
    except RuntimeError as error:
        raise ToolError(f"SOFIE refuses the model: {' '.join(str(error).split())}") from error


def _blas() -> tuple[str, ...]:
    """Return the options that link OpenBLAS as SciPy's wheel has it, with names of its own."""
    spec = importlib.util.find_spec("scipy")
    folder = Path(spec.origin).parent.parent / "scipy.libs" if spec and spec.origin else Path()
    libraries = sorted(folder.glob("libscipy_openblas-*.so"))
    if not libraries:
        raise ToolError("SOFIE's C++ needs a BLAS: SciPy's wheel has one; pip install scipy")
    names = ("-Dsgemm_=scipy_sgemm_", "-Dsgemv_=scipy_sgemv_")
    return (*names, str(libraries[0]), f"-Wl,-rpath,{libraries[0].parent}")
