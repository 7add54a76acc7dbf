"""Measure HGQ2 on our jets: the same Deep Sets, trained with learned bit-widths, through the same synthesis.

    .venv/bin/python compress/rival/rival.py --model models/zoo/jet_deepsets_n8_8bit --data data/jets_train.h5 \
        --test-data models/samples/jets.h5 --beta 1e-6

This part runs in our environment: it writes the jets as the model reads them, creates the rival's environment (hgq2
has a module ``qkeras`` of its own, so that the two cannot share one), starts hgq2_half.py in it, synthesises the
resulting Verilog, and adds a row to the table. Each step is skipped where its result exists.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.jets.task import of_trained
from edgephys.applications.task import Task
from edgephys.core import processes as tools
from edgephys.core.errors import EdgephysError, ModelError, ToolError, UsageError
from edgephys.core.files import write_file, write_json
from edgephys.models.trained import Trained, load
from edgephys.targets.rtl import logic, synth
from edgephys.targets.rtl.options import RtlOptions

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
HALF = HERE / "hgq2_half.py"
INSTALL_S = 1800.0
VECTORS = 12_000
"""Held-out jets through the rival's logic: as many as our simulations take."""
ENVIRONMENT = {"PYTHONNOUSERSITE": "1", "PYTHONPATH": "", "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}

Settings = dict[str, Any]


# Jets ---------------------------------------------------------------------------------------------


def arrays(task: Task, jets: int | None, seed: int) -> dict[str, NDArray[Any]]:
    """Return the inputs of the model: train, validation and test jets with labels; ``jets`` draws some to train on.

    Shape: *_x (jet, constituent, feature), standardised, each a multiple of the input's step; *_y (jet,).
    """
    x, y = task.train
    if jets is not None and jets < len(y):
        drawn = np.random.default_rng(seed).permutation(len(y))[:jets]
        x, y = x[drawn], y[drawn]
    test = task.input.values(task.test.inputs)
    parts = {"train": (x, y), "validation": task.validation, "test": (test, task.test.labels)}
    named: dict[str, NDArray[Any]] = {}
    for name, (values, labels) in parts.items():
        named |= {f"{name}_x": values.astype(np.float32), f"{name}_y": labels.astype(np.int32)}
    return named


def export(trained: Trained, task: Task, chosen: argparse.Namespace, folder: Path) -> Settings:
    """Write ``jets.npz`` and ``settings.json`` into ``folder`` and return the settings.

    Raises: ModelError for a model that is no Deep Sets of one output.
    """
    settings = settings_of(trained, task, chosen)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "jets.npz", **arrays(task, chosen.jets, chosen.seed))  # type: ignore[arg-type]
    write_json(folder / "settings.json", settings)
    return settings


def settings_of(trained: Trained, task: Task, chosen: argparse.Namespace) -> Settings:
    """Return the settings of the other part."""
    net = trained.card.net
    if not {"phi", "rho"} <= set(net):
        raise ModelError(
            f"model '{trained.name}': the rival is built as a Deep Sets, with phi and rho; name one of those"
        )
    constituents = net["constituents"]
    if constituents & (constituents - 1):
        raise ModelError(
            f"model '{trained.name}': constituents must be a power of two, not {constituents}: HGQ2's mean"
        )
    options = RtlOptions()
    return {
        "model": trained.name,
        "shape": [constituents, len(net["features"])],
        "phi": list(net["phi"]),
        "rho": list(net["rho"]),
        "classes": len(trained.classes),
        "input": [int(task.input.signed), task.input.bits, task.input.integer],
        "hardware": list(logic.HARDWARE),
        "solver": dict(logic.SOLVER),
        "cutoff_ns": options.stage_ns,
        "vectors": VECTORS,
        "beta": chosen.beta,
        "beta_rises": chosen.beta_rises,
        "rounding": chosen.rounding,
        "epochs": chosen.epochs,
        "batch": chosen.batch,
        "learning_rate": chosen.learning_rate,
        "seed": chosen.seed,
        "jets": chosen.jets,
        "convert": not chosen.no_convert,
    }


# The rival's environment --------------------------------------------------------------------------


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


def result_of(python: Path, folder: Path, timeout_s: float) -> dict[str, Any]:
    """Run the other part on ``folder`` and return the figures of its network.

    Raises: ToolError where it fails, or writes no result.
    """
    file = folder / "made.json"
    log = folder / "half.log"
    tools.run([str(python), str(HALF), str(folder.resolve())], HERE, timeout_s, ENVIRONMENT, log, name=HALF.name)
    if not file.is_file():
        raise ToolError(f"{HALF.name}: it left no {file}; {log} holds its output")
    result: dict[str, Any] = json.loads(file.read_text())
    return result


# Synthesis and the table --------------------------------------------------------------------------


def synthesised(folder: Path, top: str, chosen: argparse.Namespace) -> synth.Synthesised:
    """Return the cost of the rival's Verilog in our Yosys flow, module by module unless ``--flat`` is set.

    Its modules are the pipeline's stages, with registers between them, so that flat synthesis would find no shared
    logic; our modules are the layers.
    """
    sources = sorted((folder / "verilog" / "src").rglob("*.v"))
    modules = [path for path in sources if not path.stem.endswith("_wrapper")]
    return synth.synthesise(
        modules,
        top,
        flat=chosen.flat,
        timeout_s=chosen.synth_seconds,
        jobs=chosen.jobs,
        memory_gb=chosen.memory_gb,
        progress=lambda name, done, total: say(f"synthesised {name}: {done} of {total}"),
    )


def row_of(
    settings: Settings, result: Mapping[str, Any], circuit: synth.Synthesised | None, test_jets: int
) -> dict[str, Any]:
    """Return the table's row; without synthesis the LUTs are alkaid's estimate, labelled."""
    stated = ("beta", "beta_rises", "rounding", "epochs", "batch", "learning_rate")
    counted: dict[str, Any] = {"lut": result["lut_estimate"], "lut_stage": "estimated", "ff": None}
    versions = dict(result["versions"])
    if circuit is not None:
        where, cells = f"{circuit.target}, {'flat' if circuit.flat else 'module by module'}", circuit.cells
        counted = {"lut": cells.lut, "lut_stage": "synthesised", "lut_target": where, "ff": cells.ff}
        versions[circuit.tool] = circuit.version
    return {
        "model": settings["model"],
        "family": "jet_deepsets",
        "n": settings["shape"][0],
        "features": settings["shape"][1],
        "pipeline": "hgq2",
        "seed": settings["seed"],
        **{name: settings[name] for name in stated},
        "train_jets": settings["jets"],
        **{
            name: result[name]
            for name in ("accuracy", "validation_accuracy", "ebops", "lut_estimate", "delay_estimate_ns")
        },
        "accuracy_error": (result["accuracy"] * (1 - result["accuracy"]) / test_jets) ** 0.5,
        **counted,
        "latency_cycles_stage": "counted from the stages of the logic",
        **{name: result[name] for name in ("latency_cycles", "mismatches", "vectors", "train_seconds", "widths")},
        "versions": versions,
    }


SAME = (
    "model",
    "n",
    "pipeline",
    "seed",
    "epochs",
    "beta",
    "beta_rises",
    "rounding",
    "batch",
    "learning_rate",
    "train_jets",
)
"""Keys that identify a row: a second run of the same settings replaces the first one."""


def add_row(table: Path, row: Mapping[str, Any]) -> None:
    """Put a row into the table of all runs of the rival."""
    content = json.loads(table.read_text()) if table.is_file() else {"rows": []}
    rows = [old for old in content["rows"] if any(old.get(key) != row[key] for key in SAME)]
    table.parent.mkdir(parents=True, exist_ok=True)
    write_file(table, (json.dumps({**content, "rows": [*rows, row]}, indent=1) + "\n").encode())


# The command line ---------------------------------------------------------------------------------


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train the same network with HGQ2 and synthesise it as ours.")
    parser.add_argument("--model", type=Path, required=True, help="the trained model whose jets and network are used")
    parser.add_argument("--data", type=Path, required=True, help="the jets that it was trained on")
    parser.add_argument("--test-data", type=Path, help="its test jets; without them a share of --data")
    parser.add_argument("--jets", type=int, help="train on so many jets only")
    parser.add_argument("--beta", type=float, required=True, help="price of an EBOP in the loss")
    parser.add_argument("--beta-rises", action="store_true", help="let beta rise from a tenth over the first half")
    parser.add_argument("--rounding", choices=("RND", "TRN"), default="RND", help="of activations")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/rival"), help="environment, jets, networks, Verilog")
    parser.add_argument("--out", type=Path, default=Path("hls_projects/results/rival.json"))
    parser.add_argument("--no-install", action="store_true", help="fail where the environment is missing")
    parser.add_argument("--no-convert", action="store_true", help="only train, to choose beta; adds no row")
    parser.add_argument("--no-synth", action="store_true", help="keep alkaid's estimate of the LUTs")
    parser.add_argument("--flat", action="store_true", help="synthesise the whole design at once")
    parser.add_argument("--train-seconds", type=float, default=14400.0)
    parser.add_argument("--synth-seconds", type=float, default=3600.0)
    parser.add_argument("--memory-gb", type=float, default=8.0)
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args(words)
    for name in ("beta", "epochs", "batch", "learning_rate"):
        if not getattr(chosen, name) > 0:
            raise UsageError(f"--{name.replace('_', '-')} must be above 0, not {getattr(chosen, name):g}")
    return chosen


def say(text: str) -> None:
    """Print a progress message."""
    print(f"rival: {text}", file=sys.stderr, flush=True)


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Run all steps and return the row; with --no-convert the other part's result."""
    chosen.work = chosen.work.absolute()  # the tools run elsewhere
    python = interpreter(chosen.work / ".venv", make=not chosen.no_install)
    trained = load(chosen.model)
    task = of_trained(trained, chosen.data, chosen.test_data)
    settings = settings_of(trained, task, chosen)
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]
    folder = chosen.work / f"{trained.name}_beta{chosen.beta:g}_epochs{chosen.epochs}_{key}"
    if (folder / "made.json").is_file():
        result = json.loads((folder / "made.json").read_text())
    else:
        say(f"export to {folder}")
        export(trained, task, chosen, folder)
        say(f"train {chosen.epochs} epochs; {folder}/history.jsonl shows the progress")
        result = result_of(python, folder, chosen.train_seconds)
    accuracy, estimate = result["validation_accuracy"], result.get("lut_estimate")
    say(f"validation {accuracy:.4f}, {result['ebops']} EBOPs, estimate {estimate} LUT")
    if chosen.no_convert:
        return dict(result)
    cells = None if chosen.no_synth else synthesised(folder, result["top"], chosen)
    row = row_of(settings, result, cells, len(task.test.labels))
    add_row(chosen.out, row)
    return row


def main(words: Sequence[str] | None = None) -> None:
    """Run; end with a message of one line and status 1, or 2 for a usage error, where it fails."""
    try:
        print(json.dumps(measure(arguments(words)), indent=1))
    except EdgephysError as error:
        say(" ".join(str(error).split()))
        sys.exit(2 if isinstance(error, UsageError) else 1)


if __name__ == "__main__":
    main()
