"""Train a Deep Sets tagger with HGQ2 and convert it to Verilog: the part that runs in the rival's environment.

    python hgq2_half.py FOLDER

FOLDER holds ``settings.json`` and ``jets.npz``, both written by rival.py; ``history.jsonl`` (a line an epoch),
``model.keras``, ``predictions.npz``, ``verilog/`` and, last, ``made.json`` are added. Nothing of edgephys is imported.

Quantisers are those of HGQ2's examples for permutation-invariant jet taggers: one width for each weight (kbi, saturates
symmetrically) and one for each channel of activations, shared by the constituents (kif, wraps, integer bits are
traced), both from 7 bits; the price of EBOPs in the loss is ``beta``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import metadata
from math import log2, prod
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")  # the fastest backend for HGQ2, by its documentation

import keras
import numpy as np
from alkaid.codegen import RTLModel
from alkaid.converter import trace_model
from alkaid.trace import HWConfig, trace
from hgq.config import LayerConfigScope, QuantizerConfigScope
from hgq.constraints import MinMax
from hgq.layers import QDense, QSum
from hgq.utils import trace_minmax
from hgq.utils.sugar import BetaScheduler, FreeEBOPs, PieceWiseSchedule
from numpy.typing import NDArray

Settings = dict[str, Any]

TOP = "rival_top"
FIRST_BITS = 7
"""Bits of weights, and fractional bits of activations, before training."""
L1 = 1e-8
BATCH = 8192
PACKAGES = ("hgq2", "alkaid", "keras", "jax", "numpy")


def build(settings: Settings) -> Any:
    """Return the untrained network: phi of each constituent, their mean, rho of it, logits."""
    from hgq.regularizers import MonoL1

    n, features = settings["shape"]
    weights = QuantizerConfigScope(
        place=("weight", "bias"), default_q_type="kbi", overflow_mode="SAT_SYM", b0=FIRST_BITS, i0=0, ir=MonoL1(L1)
    )
    activations = QuantizerConfigScope(
        place="datalane",
        default_q_type="kif",
        overflow_mode="WRAP",
        round_mode=settings["rounding"],
        f0=FIRST_BITS,
        fr=MonoL1(L1),
        ic=MinMax(0, 12),
        heterogeneous_axis=(-1,),
    )
    with weights, activations, LayerConfigScope(beta0=settings["beta"]):
        inputs = keras.Input((n, features), name="constituents")
        x = inputs
        for i, width in enumerate(settings["phi"], 1):
            x = QDense(width, activation="relu", name=f"phi_{i}")(x)  # (jet, constituent, width)
        x = QSum(axes=1, scale=1 / n, name="pool")(x)  # (jet, width)
        for i, width in enumerate(settings["rho"], 1):
            x = QDense(width, activation="relu", name=f"rho_{i}")(x)
        return keras.Model(inputs, QDense(settings["classes"], name="logits")(x), name="rival")


def train(model: Any, jets: dict[str, NDArray[Any]], settings: Settings, folder: Path) -> None:
    """Train with Adam, a learning rate of half a cosine, and a beta that is constant or rises over the first half.

    A run that was killed is resumed after its last whole epoch.
    """
    epochs, batch, beta = settings["epochs"], settings["batch"], settings["beta"]
    steps = epochs * -(-len(jets["train_y"]) // batch)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(settings["learning_rate"], steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    backup, history = folder / "backup", folder / "history.jsonl"
    if not backup.is_dir():
        history.unlink(missing_ok=True)
    began = time.monotonic() - seconds_of(history)

    def note(epoch: int, logs: dict[str, float]) -> None:
        line = {"epoch": epoch + 1, "seconds": round(time.monotonic() - began), **logs}
        with history.open("a") as file:
            file.write(json.dumps({name: float(value) for name, value in line.items()}) + "\n")

    half = max(1, epochs // 2)
    rising = PieceWiseSchedule([(0, beta / 10, "log"), (half, beta, "constant")])
    model.fit(
        jets["train_x"],
        jets["train_y"],
        validation_data=(jets["validation_x"], jets["validation_y"]),
        batch_size=batch,
        epochs=epochs,
        verbose=0,
        callbacks=[
            BetaScheduler(rising if settings["beta_rises"] else lambda epoch: beta),
            FreeEBOPs(),
            keras.callbacks.TerminateOnNaN(),
            keras.callbacks.LambdaCallback(on_epoch_end=note),
            keras.callbacks.BackupAndRestore(str(backup), double_checkpoint=True, delete_checkpoint=False),
        ],
    )


def seconds_of(history: Path) -> float:
    """Return the seconds of training in the history."""
    lines = history.read_text().splitlines() if history.is_file() else []
    return float(json.loads(lines[-1])["seconds"]) if lines else 0.0


def answers(model: Any, x: NDArray[Any]) -> NDArray[np.float32]:
    """Return the logits of jets."""
    return np.asarray(model.predict(x, batch_size=BATCH, verbose=0), np.float32)


def convert(model: Any, settings: Settings, folder: Path) -> tuple[Any, dict[str, Any]]:
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
    verilog = RTLModel(logic, folder / "verilog", TOP, latency_cutoff=settings["cutoff_ns"], print_latency=False)
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
    figures = {}
    for layer in model.layers:
        if getattr(layer, "enable_iq", False):
            figures[layer.name] = {"input_bits": round(float(np.mean(np.asarray(layer.iq.bits))), 2)}
        if hasattr(layer, "kq"):
            figures[layer.name]["weight_bits"] = round(float(np.mean(np.asarray(layer.kq.bits))), 2)
            figures[layer.name]["zeros"] = round(float(np.mean(np.asarray(layer.qkernel) == 0)), 3)
    return figures


def run(folder: Path) -> None:
    """Train and convert as the settings in FOLDER state.  Raises: SystemExit where training diverged."""
    settings = json.loads((folder / "settings.json").read_text())
    if not log2(settings["shape"][0]).is_integer():
        sys.exit(f"constituents must be a power of two, not {settings['shape'][0]}: the mean is a sum and a shift")
    with np.load(folder / "jets.npz") as file:
        jets = {name: file[name] for name in file.files}
    keras.utils.set_random_seed(settings["seed"])
    model = build(settings)
    train(model, jets, settings, folder)
    ebops = trace_minmax(model, jets["train_x"], batch_size=BATCH)
    predictions = {name: answers(model, jets[f"{name}_x"]) for name in ("validation", "test")}
    if not all(np.isfinite(logits).all() for logits in predictions.values()):
        sys.exit("training diverged: logits are not finite; lower the learning rate or beta")
    accuracy = {name: float(np.mean(logits.argmax(-1) == jets[f"{name}_y"])) for name, logits in predictions.items()}
    model.save(folder / "model.keras")
    np.savez_compressed(folder / "predictions.npz", **predictions)
    result = {
        "accuracy": round(accuracy["test"], 5),
        "validation_accuracy": round(accuracy["validation"], 5),
        "ebops": int(ebops),
        "parameters": int(sum(prod(layer.kernel.shape) + prod(layer.bias.shape) for layer in dense(model))),
        "widths": widths(model),
        "train_seconds": round(seconds_of(folder / "history.jsonl")),
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }
    if settings["convert"]:
        logic, facts = convert(model, settings, folder)
        x = jets["test_x"][: settings["vectors"]]
        exact = logic.predict(np.ascontiguousarray(x.reshape(len(x), -1), np.float64))
        differ = np.any(exact != predictions["test"][: len(x)], axis=-1)
        result |= facts | {"mismatches": int(differ.sum()), "vectors": len(x)}
    (folder / "made.json").write_text(json.dumps(result, indent=1) + "\n")


def dense(model: Any) -> list[Any]:
    """Return the layers that hold a kernel."""
    return [layer for layer in model.layers if hasattr(layer, "kq")]


if __name__ == "__main__":
    run(Path(sys.argv[1]))
