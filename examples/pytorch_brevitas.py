"""A PyTorch network with Brevitas' quantised layers, trained and written as QONNX, which edgephys imports.

    pip install brevitas onnx onnxoptimizer onnxscript     # in an environment of its own: PyTorch takes several GB
    python examples/pytorch_brevitas.py brevitas_mlp.onnx  # writes the file, and mine.npz with the data beside it

    edgephys import brevitas_mlp.onnx --data mine.npz --out runs/brevitas
    edgephys emit runs/brevitas --to rtl --out hls_projects/brevitas_rtl
    edgephys verify hls_projects/brevitas_rtl

examples/brevitas_mlp.onnx is what this script wrote with Brevitas 0.13.4 and PyTorch 2.13.0. The data are those of
docs/own_model.md. Scales are powers of two (the quantisers ``...FixedPoint``), and the input is quantised, too.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from brevitas.export import export_qonnx
from brevitas.nn import QuantIdentity, QuantLinear, QuantReLU
from brevitas.quant import (
    Int8ActPerTensorFixedPoint,
    Int8BiasPerTensorFixedPointInternalScaling,
    Int8WeightPerTensorFixedPoint,
    Uint8ActPerTensorFixedPoint,
)
from torch import nn

BITS, EPOCHS, BATCH, TRAINED = 6, 20, 128, 4000


def linear(inputs: int, outputs: int) -> QuantLinear:
    """Return a dense layer with quantised weights and bias."""
    return QuantLinear(
        inputs,
        outputs,
        bias=True,
        weight_quant=Int8WeightPerTensorFixedPoint,
        weight_bit_width=BITS,
        bias_quant=Int8BiasPerTensorFixedPointInternalScaling,
    )


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Return x of (5000, 4) and three classes."""
    generator = np.random.default_rng(1)
    y = generator.integers(0, 3, 5000)
    x = generator.normal(0, 0.7, (5000, 4)) + 2 * np.eye(3, 4)[y]
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def drop_notes(path: Path) -> None:
    """Take out what PyTorch notes of its own source files at each operator."""
    model = onnx.load(path)
    for noted in (model.graph, *model.graph.node, *model.graph.value_info):
        noted.ClearField("metadata_props")
    onnx.save(model, path)


def main(path: Path) -> None:
    """Train the network, write it, and the data beside it."""
    torch.manual_seed(1)
    x, y = data()
    network = nn.Sequential(
        QuantIdentity(act_quant=Int8ActPerTensorFixedPoint),
        linear(4, 16),
        QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, bit_width=BITS),
        linear(16, 3),
    )
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(TRAINED).split(BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimiser.step()
    network.eval()
    with torch.no_grad():
        accuracy = (network(x[TRAINED:]).argmax(1) == y[TRAINED:]).float().mean()
    export_qonnx(network, torch.zeros(1, 4), str(path))
    drop_notes(path)
    np.savez(path.with_name("mine.npz"), x=x.numpy(), y=y.numpy())
    print(f"{path}: accuracy {accuracy:.3f} on {len(x) - TRAINED} examples that were not trained on")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "brevitas_mlp.onnx"))
