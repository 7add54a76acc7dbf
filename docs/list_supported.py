"""Write docs/supported.md: which layers and quantisers of Keras, QKeras and HGQ2 are read, and which targets take them.

    python docs/list_supported.py            # write the page (a minute)
    python docs/list_supported.py --check    # exit 1 where the page is not what the code does

The rows are the code's own tables; a cell is what becomes of a small model, tests/supported_models.py. The test
tests/test_supported.py emits and runs every one of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "supported.md"
sys.path[:0] = [str(DOCS.parent), str(DOCS.parent / "tests")]

import supported_models as models  # noqa: E402

from edgephys.core.errors import ModelError  # noqa: E402
from edgephys.core.scratch import temporary_folder  # noqa: E402
from edgephys.graph.graph import Graph  # noqa: E402
from edgephys.models.files.keras import activations, hgq2, keras2, lowered, operations  # noqa: E402
from edgephys.models.files.keras.rules import IN_TIME, RULES  # noqa: E402
from edgephys.models.files.onnx import rules as onnx_rules  # noqa: E402
from edgephys.models.files.onnx import to_keras_rules  # noqa: E402
from edgephys.models.files.onnx import wires as onnx_wires  # noqa: E402
from edgephys.networks.backend import keras  # noqa: E402
from edgephys.targets.registry import TARGETS  # noqa: E402
from edgephys.targets.rules import Refusal  # noqa: E402
from edgephys.train.quantise.kinds import DROPPED, KINDS  # noqa: E402

NAMES = ("rtl", "hls", "c", "onnx", "qonnx")
"""Targets, in the order of the columns."""
INTRODUCTION = """# What comes in

Written by `python docs/list_supported.py` from the tables of the code. "exact" means: every integer of every target is
Keras' own number, for every input of the stated format. What is not in these tables is refused in one line that names
the layer.

Float results (tanh, batch normalisation, a mean over 3, ...) are computed together with the rounding that follows, as
one function of an integer: a multiplication and shift, a table, or comparisons, whichever equals Keras on every integer
that can reach it. A layer of floats alone goes through `edgephys quantise`, which takes those marked in that column.
"""


@dataclass(frozen=True)
class Cell:
    """State which targets take a model, or why none does: ``reason`` is of the import, ``refusals`` of the targets."""

    targets: tuple[str, ...]
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return "–"
        return "exact" if self.targets == NAMES else f"exact, not {', '.join(sorted(set(NAMES) - set(self.targets)))}"


def cell(build: Callable[[], Any]) -> Cell:
    """Return what becomes of a model."""
    keras.utils.set_random_seed(1)
    try:
        model = build()
        inputs = models.INDEX if "int" in str(model.inputs[0].dtype) else models.INPUT
        graph = lowered(model, inputs, "m").graph
    except ModelError as error:
        return Cell((), str(error).split(": ", 1)[-1])
    return Cell(tuple(name for name in NAMES if takes(name, graph)))


def takes(name: str, graph: Graph) -> bool:
    """Tell whether a target has a rule for every operation of a Graph, and whether QONNX emits its formats."""
    rules = TARGETS[name].rules()
    if any(isinstance(rules.entry(type(node.op)), Refusal | None) for node in graph.nodes):
        return False
    if name == "qonnx":
        try:
            with temporary_folder("supported") as folder:
                TARGETS[name].emit(graph, folder, TARGETS[name].options())
        except ModelError:
            return False
    return True


def layers() -> dict[str, Cell]:
    """Return what becomes of each layer without a quantiser of its own."""
    return {name: cell(models.PLAIN[name]) for name in sorted(models.PLAIN)}


def weighted() -> dict[str, dict[str, Cell]]:
    """Return what becomes of each layer of weights with each quantiser."""
    return {
        name: {kernel: cell(lambda b=build, k=kernel: b(k)) for kernel in models.KERNELS}
        for name, build in sorted(models.WEIGHTED.items())
    }


def values() -> dict[str, Cell]:
    """Return what becomes of each quantiser of values."""
    return {text: cell(lambda t=text: models.of_value(t)) for text in models.VALUES}


def functions() -> dict[str, Cell]:
    """Return what becomes of each activation function."""
    return {name: cell(lambda n=name: models.of_function(n)) for name in sorted({"relu", *activations.FLOAT})}


def quantised(name: str) -> str:
    """Return a mark where `edgephys quantise` takes a layer of this name."""
    return "yes" if name in {kind.__name__ for kind in (*KINDS, *DROPPED, keras.layers.TimeDistributed)} else ""


def columns(known: Cell) -> list[str]:
    """Return the cell of each target."""
    return ["–" if known.reason else "exact" if name in known.targets else "refused" for name in NAMES]


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return a table in Markdown."""
    heads = list(heads)
    return [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *(f"| {' | '.join(row)} |" for row in rows), ""]


def refusals(cells: dict[str, Cell]) -> list[str]:
    """Return a line for each model that is refused."""
    lines = [f"- {name}: {known.reason}." for name, known in cells.items() if known.reason]
    return [*lines, ""] if lines else []


def page() -> str:
    """Return the page."""
    texts, plain = INTRODUCTION.splitlines(), layers()
    by_kernel = weighted()
    texts += ["", "## Layers of quantised weights", ""]
    texts += table(
        ("layer", *models.KERNELS.values()),
        ((name, *(str(known) for known in cells.values())) for name, cells in by_kernel.items()),
    )
    of_dense = by_kernel["QDense"]
    others = {
        f"{name} with `{kernel}`": known
        for name, cells in by_kernel.items()
        for kernel, known in cells.items()
        if not of_dense[kernel].reason
    }
    texts += refusals({f"`{kernel}`": known for kernel, known in of_dense.items()} | others)
    texts += ["## Other layers", ""]
    texts += table(
        ("layer", *NAMES, "`edgephys quantise`"),
        ((name, *columns(known), quantised(name)) for name, known in plain.items()),
    )
    texts += [f"- TimeDistributed may call {', '.join(sorted(in_time()))}."]
    texts += refusals(plain) or [""]
    texts += ["## Quantisers of values", ""]
    of_values = values()
    texts += table(("quantiser", *NAMES), ((f"`{text}`", *columns(known)) for text, known in of_values.items()))
    texts += refusals({f"`{text}`": known for text, known in of_values.items()})
    texts += ["## Activation functions, with the rounding that follows", ""]
    of_functions = functions()
    texts += table(("function", *NAMES), ((name, *columns(known)) for name, known in of_functions.items()))
    texts += refusals(of_functions)
    texts += [
        *(
            "A softmax or sigmoid at the end of a model is left out, since the order of the outputs stays.",
            "`--output-format` rounds other float results at the end. `--keep-softmax` computes a softmax at the end;",
            "one inside a Keras or ONNX network is always computed, by tables: the same integers on all targets, no",
            "copy of the float softmax. The largest difference is measured, printed and kept in the card.",
            "",
        ),
        *("## Operations of keras.ops", ""),
        f"- Moves, whatever they do within an example: {', '.join(operations.MOVES)}.",
        f"- Of two tensors: {', '.join(operations.JOINS)}.",
        f"- Over axes: {', '.join(operations.REDUCTIONS)}.",
        f"- Of each element, with constants: {', '.join(operations.ELEMENTWISE)}.",
        "",
        *("## Operators of ONNX and QONNX", ""),
        f"- Moves: {', '.join(name for name in onnx_wires.WIRES if not name.startswith('Channels'))}.",
        f"- Quantisers, of any scale and zero point: {', '.join(sorted(onnx_rules.QUANTISERS))}, DequantizeLinear.",
        f"- Functions, with the quantiser that follows: {', '.join(onnx_rules.FUNCTIONS)}, LeakyRelu, Clip.",
        f"- Others: {', '.join(_other_operators())}.",
        f"- Of float models, for `edgephys quantise`: {', '.join(to_keras_rules.RULES)}.",
        "- MatMul of two computed tensors, Softmax over any axis; Add and Sub of two tensors of other scales, which",
        "  the quantiser behind them takes in (residuals of QDQ networks).",
        "- Constants are folded, whatever the operator. QONNX's wrappers with channels last are read, too.",
        "",
        *("## Other packages", ""),
        f"- HGQ2, without HGQ2: {', '.join(hgq2.KNOWN)}.",
        f"- Of Keras 2's time: {', '.join(keras2.NAMES_OF_LAYERS)}.",
    ]
    return "\n".join(texts) + "\n"


def _other_operators() -> list[str]:
    """Return the operators of ONNX that are not listed by kind."""
    listed = {*onnx_wires.WIRES, *onnx_rules.QUANTISERS, *onnx_rules.FUNCTIONS, "LeakyRelu", "Clip", "DequantizeLinear"}
    return [name for name in onnx_rules.RULES if name not in listed]


def in_time() -> set[str]:
    """Return the layers that TimeDistributed may call."""
    return {kind.__name__ for kind, rule in RULES.items() if rule in IN_TIME and not _is_ours(kind)}


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("edgephys")


def names() -> set[str]:
    """Return the layers that the code reads, without those of our own networks."""
    return {kind.__name__ for kind in RULES if not _is_ours(kind)} | {"TimeDistributed"}


def main() -> None:
    """Write the page, or compare it."""
    text = page()
    if "--check" not in sys.argv:
        PAGE.write_text(text)
    elif text != PAGE.read_text():
        raise SystemExit(f"{PAGE}: not what the code does; run python docs/list_supported.py")


if __name__ == "__main__":
    main()
