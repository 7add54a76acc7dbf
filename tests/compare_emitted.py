"""Compare what two versions of edgephys emit: sources, Graphs and integers, byte for byte.

    python tests/compare_emitted.py emit TREE OUT [MODEL...] [--to TARGET...]   # emit with the package in TREE
    python tests/compare_emitted.py compare OUT_A OUT_B                         # exit 1 where a file differs

``emit`` writes one file of SHA-256 digests for each model and target and skips those that OUT already holds, so that it
can be stopped and started again. ``graph.json``, the sources in ``firmware/`` and the golden model's integers in
``vectors.npz`` are compared; the manifest, which names versions, is not.
``make compare-emitted BASE=commit`` does both for a commit and the working tree.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

TARGETS = ("hls", "rtl", "c", "onnx", "qonnx")
ROOT = Path(__file__).resolve().parent.parent
PLAIN_WAVE = "full_8bit"  # its first sum needs 25 bits: it is refused, and the refusal is compared


def models() -> list[Path]:
    """Return the folders of all quantised models in the repository."""
    folders = (*ROOT.glob("models/zoo/*"), *ROOT.glob("models/compressed/*"), *ROOT.glob("models/waves/*"))
    return sorted(folder for folder in folders if not folder.name.endswith("_float"))


def digests(project: Path) -> dict[str, str]:
    """Return the digest of each compared file, and of each array of the vectors."""
    files = [project / "graph.json", *sorted(path for path in (project / "firmware").rglob("*") if path.is_file())]
    found = {str(path.relative_to(project)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    with np.load(project / "vectors.npz") as arrays:
        for name in sorted(arrays):
            found[f"vectors.npz/{name}"] = hashlib.sha256(np.ascontiguousarray(arrays[name]).tobytes()).hexdigest()
    return found


def emit(tree: Path, out: Path, chosen: list[Path], targets: tuple[str, ...]) -> None:
    """Emit every model to every target with the package in ``tree`` and keep the digests."""
    sys.path.insert(0, str(tree))
    from edgephys import cli

    assert Path(cli.__file__).is_relative_to(tree), f"expected the package of {tree}, got {cli.__file__}"
    out.mkdir(parents=True, exist_ok=True)
    for model in chosen:
        for target in targets:
            kept = out / f"{model.parent.name}.{model.name}.{target}.json"
            if kept.exists():
                continue
            with tempfile.TemporaryDirectory() as scratch:
                project = Path(scratch) / f"{model.name}_{target}"
                sys.argv[1:] = ["emit", str(model), "--to", target, "--out", str(project)]
                try:
                    cli.main()
                except SystemExit as ended:
                    if ended.code and model.name != PLAIN_WAVE:
                        raise SystemExit(f"{model.name} to {target}: emit failed") from ended
                kept.write_text(json.dumps(digests(project) if project.exists() else {"refused": ""}, indent=1) + "\n")


def compare(one: Path, other: Path) -> int:
    """Print every difference and return 1 where there is one, or where nothing was compared."""
    ours, theirs = (
        {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")} for folder in (one, other)
    )
    different = sorted(set(ours) ^ set(theirs))
    lines = [f"{name}: only in one of the two" for name in different]
    for name in sorted(set(ours) & set(theirs)):
        for file in sorted(set(ours[name]) | set(theirs[name])):
            if ours[name].get(file) != theirs[name].get(file):
                lines.append(f"{name}: {file} differs")
    print("\n".join([*lines, f"{len(ours)} projects, {sum(map(len, ours.values()))} files, {len(lines)} differences"]))
    return 1 if lines or not ours else 0


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("emit")
    one.add_argument("tree", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("models", type=Path, nargs="*")
    one.add_argument("--to", nargs="+", default=TARGETS, choices=TARGETS)
    two = commands.add_parser("compare")
    two.add_argument("one", type=Path)
    two.add_argument("other", type=Path)
    given = parser.parse_args()
    if given.command == "compare":
        sys.exit(compare(given.one, given.other))
    chosen = [path.resolve() for path in given.models] or models()
    emit(given.tree.resolve(), given.out.resolve(), chosen, tuple(given.to))


if __name__ == "__main__":
    main()
