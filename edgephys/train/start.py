"""Files to start from: a training script, sample data, a compression pipeline, and the commands that use them."""

from __future__ import annotations

from pathlib import Path

from edgephys.core.errors import UsageError
from edgephys.core.files import check_writable, write_file

TEMPLATES = Path(__file__).with_name("start")
FILES = ("model.py", "data.py", "pipeline.toml")
COMMANDS = (
    "python {folder}/data.py",
    "edgephys train {folder}/model.py --data {folder}/data.npz --out {folder}/runs/model",
    "edgephys explain {folder}/runs/model",
    "edgephys emit {folder}/runs/model --to c --out {folder}/projects/c",
    "edgephys emit {folder}/runs/model --to rtl --out {folder}/projects/rtl",
    "edgephys verify {folder}/projects/c",
    "edgephys verify {folder}/projects/rtl",
    "edgephys report {folder}/projects/rtl",
    "edgephys compress {folder}/runs/model {folder}/pipeline.toml --data {folder}/data.npz --out {folder}/runs/small",
)
"""The work from data to a smaller circuit, in order."""


def write(folder: Path) -> tuple[Path, ...]:
    """Write the files into a new or empty folder, and return them.

    Raises: UsageError where one of them exists: nothing is replaced.
    """
    present = [name for name in FILES if (folder / name).exists()]
    if present:
        raise UsageError(f"{folder}: {present[0]} exists and is kept; expected a folder without it: name another one")
    check_writable(folder / FILES[0])
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in FILES:
        text = (TEMPLATES / f"{name}.txt").read_text().replace("FOLDER/", f"{folder}/")
        paths.append(folder / name)
        write_file(paths[-1], text.encode())
    return tuple(paths)


def commands(folder: Path) -> tuple[str, ...]:
    """Return the commands that follow, as they are typed."""
    return tuple(command.format(folder=folder) for command in COMMANDS)
