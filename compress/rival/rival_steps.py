"""The steps of a measurement: the rival's environment, the part that runs in it, and the synthesis of its Verilog."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from edgephys.core import processes as tools
from edgephys.core.errors import ToolError
from edgephys.core.files import write_json
from edgephys.targets.rtl import synth

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
HALF = HERE / "hgq2_half.py"
INSTALL_S = 1800.0
ENVIRONMENT = {"PYTHONNOUSERSITE": "1", "PYTHONPATH": "", "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
TRAINED, RESULT = "trained.json", "result.json"


def interpreter(venv: Path, make: bool) -> Path:
    """Return the Python of the rival's environment; where it is missing, create it from the pinned requirements.

    Raises: ToolError where it is missing and ``make`` is false, or where it cannot be created.
    """
    python = venv / "bin" / "python"
    pins = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    stamp = venv / "requirements.sha256"
    if python.exists() and stamp.is_file() and stamp.read_text() == pins:
        return python
    if not make:
        raise ToolError(
            f"{venv}: no environment of {REQUIREMENTS.name} as it is now; leave --no-install out to make it"
        )
    say(f"install {REQUIREMENTS.name} into {venv}")
    venv.parent.mkdir(parents=True, exist_ok=True)
    tools.run([sys.executable, "-m", "venv", "--clear", str(venv)], HERE, INSTALL_S, name="venv")
    install = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "-q"]
    tools.run([*install, "-r", str(REQUIREMENTS)], HERE, INSTALL_S, {"PYTHONPATH": ""}, name="pip")
    stamp.write_text(pins)
    return python


def trained_in(folder: Path, python: Path, timeout_s: float) -> dict[str, Any]:
    """Train as the settings in ``folder`` state, unless that is done, and return its record.

    Raises: ToolError where the other part fails, or writes no record.
    """
    if not (folder / TRAINED).is_file():
        say(f"train; {folder}/history.jsonl shows the progress")
        half(python, ["train", str(folder.resolve())], folder / "train.log", timeout_s)
    return record_of(folder / TRAINED)


def converted(folder: Path, epoch: int, python: Path, timeout_s: float) -> dict[str, Any]:
    """Convert an epoch to Verilog, unless that is done, and return the figures of its network.

    Raises: ToolError as ``trained_in`` does.
    """
    result = folder / f"epoch_{epoch}" / RESULT
    if not result.is_file():
        say(f"convert epoch {epoch} of {folder.name}")
        half(python, ["convert", str(folder.resolve()), str(epoch)], folder / f"convert_{epoch}.log", timeout_s)
    return record_of(result)


def half(python: Path, words: list[str], log: Path, timeout_s: float) -> None:
    """Run the other part.  Raises: ToolError where it fails."""
    tools.run([str(python), str(HALF), *words], HERE, timeout_s, ENVIRONMENT, log, name=HALF.name)


def record_of(file: Path) -> dict[str, Any]:
    """Return the record that the other part wrote.  Raises: ToolError where it wrote none."""
    if not file.is_file():
        raise ToolError(f"{HALF.name}: it left no {file}; the .log files beside it hold its output")
    record: dict[str, Any] = json.loads(file.read_text())
    return record


def synthesised(folder: Path, top: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Return the cost of the Verilog below ``folder`` in our Yosys flow, module by module unless ``--flat`` is set.

    Its modules are the pipeline's stages, with registers between them, so that flat synthesis would find no shared
    logic; our modules are the layers. A result that exists is read.
    """
    stored = folder / f"synthesis{'_flat' if chosen.flat else ''}.json"
    if stored.is_file():
        return record_of(stored)
    sources = sorted((folder / "verilog" / "src").rglob("*.v"))
    circuit = synth.synthesise(
        [path for path in sources if not path.stem.endswith("_wrapper")],
        top,
        flat=chosen.flat,
        timeout_s=chosen.synth_seconds,
        jobs=chosen.jobs,
        memory_gb=chosen.memory_gb,
        progress=lambda name, done, total: say(f"synthesised {name}: {done} of {total}"),
    )
    counted = {
        "lut": circuit.cells.lut,
        "lut_stage": "synthesised",
        "lut_target": f"{circuit.target}, {'flat' if circuit.flat else 'module by module'}",
        "ff": circuit.cells.ff,
        "versions": {circuit.tool: circuit.version},
    }
    write_json(stored, counted)
    return counted


def say(text: str) -> None:
    """Print a progress message."""
    print(f"rival: {text}", file=sys.stderr, flush=True)
