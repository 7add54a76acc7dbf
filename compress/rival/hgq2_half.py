"""Train a jet tagger with HGQ2 and convert epochs of it to Verilog: the part that runs in the rival's environment.

    python hgq2_half.py train FOLDER
    python hgq2_half.py convert FOLDER EPOCH...

FOLDER holds ``settings.json``, written by rival.py, which names the file of jets. ``train`` adds ``history.jsonl`` (a
line an epoch), the weights of every epoch on the front of validation accuracy against EBOPs in ``front/`` and, last,
``trained.json``. ``convert`` makes ``epoch_NUMBER/`` with ``predictions.npz``, ``verilog/`` and, last,
``result.json``. Nothing of edgephys is imported.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import metadata
from math import prod
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")  # the fastest backend for HGQ2, by its documentation

import keras
import numpy as np
from alkaid.codegen import RTLModel
from alkaid.converter import trace_model
from alkaid.trace import HWConfig, trace
from hgq.utils import trace_minmax
from hgq.utils.sugar import BetaScheduler, FreeEBOPs, PieceWiseSchedule
from hgq2_front import epochs_of, forget_after, front
from hgq2_networks import build
from hgq2_schedule import betas_of, rate_of
from numpy.typing import NDArray

Settings = dict[str, Any]
Jets = dict[str, NDArray[Any]]

TOP = "rival_top"
BATCH = 8192
PACKAGES = ("hgq2", "alkaid", "keras", "jax", "numpy")


# Training -----------------------------------------------------------------------------------------


class Front(keras.callbacks.Callback):
    """Write the history, and keep the weights of each epoch that is on the front so far."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.history, self.weights = folder / "history.jsonl", folder / "front"
        self.began = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remove what a killed training noted of epochs that run again."""
        if not self.began:
            forget_after(self.history, epoch)
            self.began = time.monotonic() - seconds_of(self.history)
            self.weights.mkdir(exist_ok=True)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the epoch's line, store its weights where it is on the front, and remove those of epochs that left."""
        line = {"epoch": epoch + 1, "seconds": round(time.monotonic() - self.began), **(logs or {})}
        with self.history.open("a") as file:
            file.write(json.dumps({name: float(value) for name, value in line.items()}) + "\n")
        names = {weights_of(self.weights, one.number).name for one in front(epochs_of(self.history))}
        own = weights_of(self.weights, epoch + 1)
        if own.name in names:
            self.model.save_weights(own)
        for path in self.weights.iterdir():
            if path.name not in names:
                path.unlink()


def weights_of(folder: Path, epoch: int) -> Path:
    """Return the file of an epoch's weights."""
    return folder / f"{epoch:05d}.weights.h5"


def train(folder: Path) -> None:
    """Train with Adam as the settings state.  A run that was killed is resumed after its last whole epoch.

    Raises: SystemExit where training diverged.
    """
    settings, jets = read(folder)
    keras.utils.set_random_seed(settings["seed"])
    model, epochs, beta = build(settings), settings["epochs"], settings["beta"]
    model.compile(
        keras.optimizers.Adam(settings["learning_rate"]),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    rising = PieceWiseSchedule(betas_of(settings["network"], beta, epochs, settings["beta_rises"]))
    cycle, highest = min(settings["cycle"], epochs), settings["learning_rate"]
    model.fit(
        jets["train_x"],
        jets["train_y"],
        validation_data=(jets["validation_x"], jets["validation_y"]),
        batch_size=settings["batch"],
        epochs=epochs,
        verbose=0,
        callbacks=[
            keras.callbacks.LearningRateScheduler(lambda epoch: rate_of(epoch, highest, cycle)),
            BetaScheduler(rising),
            FreeEBOPs(),
            keras.callbacks.TerminateOnNaN(),
            Front(folder),
            keras.callbacks.BackupAndRestore(str(folder / "backup"), double_checkpoint=True, delete_checkpoint=False),
        ],
    )
    history = folder / "history.jsonl"
    if len(epochs_of(history)) < epochs:
        sys.exit("training diverged: a loss was not finite; lower the learning rate or beta")
    write(folder / "trained.json", {"train_seconds": round(seconds_of(history)), "versions": versions()})


def seconds_of(history: Path) -> float:
    """Return the seconds of training in the history."""
    lines = history.read_text().splitlines() if history.is_file() else []
    return float(json.loads(lines[-1])["seconds"]) if lines else 0.0


# Circuits -----------------------------------------------------------------------------------------


def convert(folder: Path, epoch: int) -> None:
    """Write the circuit of an epoch, and what it is worth on validation and test jets.

    The integer bits of activations are traced on the training jets, as the authors do; this may change EBOPs.
    Raises: SystemExit where the weights of the epoch are not stored.
    """
    settings, jets = read(folder)
    weights, out = weights_of(folder / "front", epoch), folder / f"epoch_{epoch}"
    if not weights.is_file():
        sys.exit(f"{weights}: expected the weights of epoch {epoch}, found none; is it on the front? train again")
    model = build(settings)
    model.load_weights(weights)
    out.mkdir(exist_ok=True)
    ebops = trace_minmax(model, jets["train_x"], batch_size=BATCH)
    predictions = {name: answers(model, jets[f"{name}_x"]) for name in ("validation", "test")}
    accuracy = {name: float(np.mean(logits.argmax(-1) == jets[f"{name}_y"])) for name, logits in predictions.items()}
    np.savez_compressed(out / "predictions.npz", **predictions)
    logic, facts = circuit(model, settings, out)
    x = jets["test_x"][: settings["vectors"]]
    exact = logic.predict(np.ascontiguousarray(x.reshape(len(x), -1), np.float64))
    differ = np.any(exact != predictions["test"][: len(x)], axis=-1)
    result = {
        "accuracy": round(accuracy["test"], 5),
        "validation_accuracy": round(accuracy["validation"], 5),
        "ebops": int(ebops),
        "parameters": sum(prod(layer.kernel.shape) + prod(layer.bias.shape) for layer in with_kernels(model)),
        "widths": widths(model),
        **facts,
        "mismatches": int(differ.sum()),
        "vectors": len(x),
    }
    write(out / "result.json", result)


def answers(model: Any, x: NDArray[Any]) -> NDArray[np.float32]:
    """Return the logits of jets."""
    return np.asarray(model.predict(x, batch_size=BATCH, verbose=0), np.float32)


def circuit(model: Any, settings: Settings, out: Path) -> tuple[Any, dict[str, Any]]:
    """Write the Verilog, pipelined as ours; return its logic and alkaid's figures of it."""
    signed, bits, integer = settings["input"]
    began = time.monotonic()
    inputs, outputs = trace_model(
        model,
        HWConfig(*settings["hardware"]),
        dict(settings["solver"]),
        inputs_kif=(int(signed), integer - signed, bits - integer),
    )
    logic = trace(inputs, outputs)
    verilog = RTLModel(logic, out / "verilog", TOP, latency_cutoff=settings["cutoff_ns"], print_latency=False)
    verilog.write()
    facts = {
        "lut_estimate": round(sum(stage.cost for stage in verilog.fsm.logic.values())),
        "ff_estimate": verilog.reg_bits,
        "delay_estimate_ns": float(max(logic.out_latency)),
        "latency_cycles": int(verilog.latency),
        "top": TOP,
        "convert_seconds": round(time.monotonic() - began, 1),
    }
    return logic, facts


def widths(model: Any) -> dict[str, dict[str, float]]:
    """Return, for each layer, the mean bits of weights and of inputs, and the share of weights that are zero."""
    figures: dict[str, dict[str, float]] = {}
    for layer in model.layers:
        if getattr(layer, "enable_iq", False) and hasattr(layer.iq, "bits"):
            figures[layer.name] = {"input_bits": round(float(np.mean(np.asarray(layer.iq.bits))), 2)}
    for layer in with_kernels(model):
        figures[layer.name] |= {
            "weight_bits": round(float(np.mean(np.asarray(layer.kq.bits))), 2),
            "zeros": round(float(np.mean(np.asarray(layer.qkernel) == 0)), 3),
        }
    return figures


def with_kernels(model: Any) -> list[Any]:
    """Return the layers that hold a kernel."""
    return [layer for layer in model.layers if hasattr(layer, "kq")]


# Files and the command line -----------------------------------------------------------------------


def read(folder: Path) -> tuple[Settings, Jets]:
    """Return the settings of a run and its jets."""
    settings: Settings = json.loads((folder / "settings.json").read_text())
    with np.load(folder / settings["jets_file"]) as file:
        return settings, {name: file[name] for name in file.files}


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a record whole or not at all."""
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(record, indent=1) + "\n")
    beside.replace(path)


def versions() -> dict[str, str]:
    """Return the versions of the packages that the result depends on."""
    return {name: metadata.version(name) for name in PACKAGES}


def main(words: list[str]) -> None:
    """Train, or convert epochs, in a folder."""
    command, folder, *epochs = words
    if command == "train":
        train(Path(folder))
    else:
        for epoch in epochs:
            convert(Path(folder), int(epoch))


if __name__ == "__main__":
    main(sys.argv[1:])
