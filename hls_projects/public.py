"""Try every model file of a folder: bring it in, emit it to the targets and verify it there, a row a file.

    python hls_projects/public.py FOLDER --out hls_projects/results/public
    python hls_projects/public.py FOLDER --out hls_projects/results/public --only unet --only bnn  # these rows anew

A Keras or ONNX file that has quantisers is imported, a float one is quantised to 8 bits on random data first. Each file
has a process and a time of its own; what it reached in this time stands in its row. Random inputs are drawn over FORMAT
where the file states no format, and outputs that are floats are rounded. Without a file's own data no accuracy can be
stated.
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from edgephys import api
from edgephys.core import machine
from edgephys.core.errors import DataError, EdgephysError, ModelError, UsageError
from edgephys.core.remaining import Remaining
from edgephys.report import render
from edgephys.report.table import Column, Table

TARGETS = ("c", "onnx", "rtl", "hls")
EXAMPLES = 500
OUTPUTS = "fixed<16,6>"
"""Format of outputs that are floats: a file of this sort is exact once they are rounded, in Keras as on the targets."""
EXACT = "exact"
UNREACHED = "not reached"


def files_of(folder: Path) -> list[Path]:
    """Return the model files below a folder; weights beside an architecture in JSON are no files of their own."""
    chosen = []
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".onnx", ".keras", ".h5", ".hdf5") and not path.stem.endswith("_weights"):
            beside = path.with_name(f"{path.stem.partition('_weights')[0]}.json")
            if "_weights" not in path.stem or not beside.is_file():
                chosen.append(path)
        elif path.suffix == ".json" and '"class_name"' in path.read_text(errors="replace")[:2000]:
            chosen.append(path)
    return chosen


# One file, in a process of its own -------------------------------------------------------------------


def tried(path: Path, out: Path, fixed: str, bits: int, keep: Callable[[dict[str, Any]], None]) -> None:
    """Bring a file in, emit it to each target and verify it; ``keep`` is called with what is known after each step."""
    row: dict[str, Any] = {"way": None, "input_format": None, "refusal": None, "warnings": []}
    try:
        model = _imported(path, out, fixed, bits, row)
    except EdgephysError as error:
        keep(row | {"refusal": str(error)})
        return
    row |= {"input_format": model.card.imported.input_format, "outputs": model.card.imported.outputs_compared}
    row |= {"parameters": model.card.parameters, "warnings": [*row["warnings"], *model.warnings]}
    keep(row)
    for target in TARGETS:
        try:
            project = model.emit(target, out / target)
            if target == "rtl":
                facts = project.project.facts
                row |= {"lut": facts.get("lut_estimate"), "stages": facts.get("stages")}
            project.verify()
            row[target] = EXACT
        except EdgephysError as error:
            row[target] = str(error)
        keep(row)


def _imported(path: Path, out: Path, fixed: str, bits: int, row: dict[str, Any]) -> Any:
    """Return the model of a file: imported as it is, or quantised where it is float."""
    row["way"] = "import"
    words: dict[str, Any] = {"out": out / "model", "count": 100, "force": True}
    words |= {} if path.suffix == ".onnx" else {"input_format": fixed}
    while True:  # each refusal that names an option is tried again with it, once
        try:
            return api.load(path, **words)
        except (ModelError, UsageError) as error:
            if "edgephys quantise" in str(error):
                return _quantised(path, out, fixed, bits, row)
            if "--input-format" in str(error) and "input_format" not in words:
                words["input_format"] = fixed
            elif "--output-format" in str(error) and "output_format" not in words:
                words["output_format"] = OUTPUTS
                row["way"] = f"import, outputs rounded to {OUTPUTS}"
            else:
                raise


def _quantised(path: Path, out: Path, fixed: str, bits: int, row: dict[str, Any]) -> Any:
    """Return the model of a float file, quantised on random data over a format."""
    from edgephys.core.fixed import Fixed
    from edgephys.models.files.keras import file as keras_file
    from edgephys.models.files.onnx import file as onnx_file
    from edgephys.models.imported_keras import inputs_of
    from edgephys.train.quantise.run import Settings, quantise

    row["way"] = f"quantise to {bits} bits"
    shapes = onnx_file.read(path).inputs if path.suffix == ".onnx" else inputs_of(keras_file.read(path))
    form, generator = Fixed.of_text(fixed), np.random.default_rng(1)
    arrays = {
        f"x{number}": form.values(generator.integers(form.low, form.high, (EXAMPLES, *shape), endpoint=True))
        for number, shape in enumerate(shapes.values())
    }
    np.savez(out / "random.npz", **arrays)
    quantised = quantise(path, out / "random.npz", out / "model", Settings(bits), force=True)
    row["warnings"] = list(quantised.record["warnings"])
    return api.load(out / "model")


# The table -----------------------------------------------------------------------------------------------


def row_of(path: Path, folder: Path, seconds: float, fixed: str, bits: int) -> dict[str, Any]:
    """Return the row of a file: what a process of its own reached in so many seconds."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="public-") as scratch:
        kept_row = Path(scratch) / "row.json"
        words = [sys.executable, __file__, str(path), "--one", scratch, "--input-format", fixed, "--bits", str(bits)]
        process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            _, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said = f"stopped after {seconds:g} s"
            process.communicate()
        row: dict[str, Any] = {"way": None, "input_format": None, "refusal": None, "warnings": []}
        row |= json.loads(kept_row.read_text()) if kept_row.is_file() else {}
    in_time = not said.startswith("stopped after")
    if row.get("input_format") is None and row.get("refusal") is None:
        row["refusal"] = (said.strip().splitlines() or ["no reason"])[-1][:300]
    missing = UNREACHED if row.get("refusal") else said if not in_time else "unforeseen"
    results = {target: row.get(target, missing) for target in TARGETS}
    exact_on = [target for target in TARGETS if results[target] == EXACT]
    return {
        "file": str(path.relative_to(folder)),
        **row,
        **results,
        "came_in": row.get("input_format") is not None,
        "limit": seconds,
        "exact_on": exact_on,
        "seconds": round(time.monotonic() - start, 1),
    }


def table(record: dict[str, Any]) -> Table:
    """Declare the table."""
    rows = record["rows"]
    limits = sorted({row.get("limit", record["seconds"]) for row in rows})
    came, all_of = sum(row["came_in"] for row in rows), sum(len(row["exact_on"]) == len(TARGETS) for row in rows)

    def reason(row: Any) -> str:
        others = [f"{target}: {row[target]}" for target in TARGETS if row[target] not in (EXACT, UNREACHED)]
        return (row["refusal"] or "; ".join(others)).replace("|", "\\|") or "–"

    return Table(
        title="Public model files",
        columns=(
            Column("file", "file", left=True),
            Column("way", "way in", text=str, left=True),
            Column("exact_on", "exact on", text=lambda names: ", ".join(names) or "–", left=True),
            Column("lut", "LUT", "(estimated)", text=lambda lut: f"{lut:,.0f}"),
            Column("stages", "cycles of RTL", text=str),
            Column("reason", "refusal", cell=reason, value=reason, left=True),
        ),
        rows=rows,
        record=record,
        lead=(
            f"{came} of {len(rows)} files come in, {all_of} of them exact on all of {', '.join(TARGETS)}; "
            f"{' or '.join(f'{limit:g}' for limit in limits)} s a file at most.",
        ),
    )


def with_rows_of(before: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with the rows of an earlier one, each with the limit under which it was measured."""
    rows = [{"limit": before["seconds"], **row} for row in before["rows"]]
    both = {key: "; ".join(dict.fromkeys((before[key], record[key]))) for key in ("command", "machine")}
    return {**record, **both, "rows": rows}


def main() -> int:
    """Read the command line and write the table after each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder of .onnx, .keras, .h5 and .json files")
    parser.add_argument("--out", type=Path, help="write OUT.json, .md and .csv; without it the table is only shown")
    parser.add_argument("--seconds", type=float, default=300, help="time of one file")
    parser.add_argument("--jobs", type=int, default=1, help="files at a time")
    parser.add_argument("--input-format", default="fixed<8,4>", help="format of inputs for which a file states none")
    parser.add_argument("--bits", type=int, default=8, help="bits of float models that are quantised")
    parser.add_argument(
        "--only", action="append", help="only files whose path has this in it; OUT keeps its rows of other files"
    )
    parser.add_argument("--quiet", action="store_true", help="print no line a file")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.one is not None:

        def keep(row: dict[str, Any]) -> None:
            beside = words.one / "row.json.new"
            beside.write_text(json.dumps(row))
            beside.replace(words.one / "row.json")

        tried(words.folder, words.one, words.input_format, words.bits, keep)
        return 0
    files = [path for path in files_of(words.folder) if any(part in str(path) for part in words.only or [""])]
    if not files:
        raise DataError(f"{words.folder}: expected .onnx, .keras, .h5 or .json files of models, found none")
    command = ["hls_projects/public.py", words.folder.name, "--seconds", f"{words.seconds:g}"]
    command += ["--jobs", str(words.jobs)] if words.jobs != 1 else []
    command += [word for part in words.only or [] for word in ("--only", part)]
    record: dict[str, Any] = {
        "command": f"python {shlex.join(command)}",
        "machine": machine.name(),
        "seconds": words.seconds,
        "input_format": words.input_format,
        "rows": [],
    }
    if words.only and words.out is not None and words.out.with_suffix(".json").is_file():
        record = with_rows_of(json.loads(words.out.with_suffix(".json").read_text()), record)
    write = render.writer(words.out, table)
    remaining = Remaining()
    with ThreadPoolExecutor(words.jobs) as pool:
        arguments = ((path, words.folder, words.seconds, words.input_format, words.bits) for path in files)
        for done, row in enumerate(pool.map(lambda of_file: row_of(*of_file), arguments), 1):
            others = [other for other in record["rows"] if other["file"] != row["file"]]
            record["rows"] = sorted([*others, row], key=lambda row: str(row["file"]))
            write(record)
            exact_on = ",".join(row["exact_on"])
            if not words.quiet:
                place = f"{row['seconds']} s, {done} of {len(files)}{remaining.left(done, len(files))}"
                print(row["file"], row["way"], exact_on, row["refusal"] or "", place, flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgephysError as error:
        sys.exit(f"public: {error}")
