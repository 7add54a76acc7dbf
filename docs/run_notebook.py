"""Run the cells of a notebook in order and write what they print into it.

    python docs/run_notebook.py examples/first_steps.ipynb

Run it in an empty folder or in the repository: what the cells write lands in ``runs/`` and ``hls_projects/`` there.
A line that begins with ! is a command of the shell, as in Jupyter.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

Shell = Callable[[str], str]


def shell(line: str) -> str:
    """Run a command with the programs of this Python first, and return what it prints.

    Raises: RuntimeError with what it said where it fails.
    """
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(line, shell=True, capture_output=True, text=True, env={**os.environ, "PATH": path})
    if done.returncode:
        raise RuntimeError(f"{line}: expected status 0, got {done.returncode}: {done.stderr}")
    return done.stdout


def logical_lines(text: str) -> list[str]:
    """Return the lines of a text, those that end in a backslash joined with the next."""
    return text.replace("\\\n", " ").splitlines()


def program(cell: str) -> str:
    """Return a cell as Python: a line that begins with ! calls ``shell`` and prints."""
    if not any(line.startswith("!") for line in cell.splitlines()):
        return cell
    return "\n".join(
        f"print(shell({line[1:].strip()!r}), end='')" if line.startswith("!") else line for line in logical_lines(cell)
    )


def run(notebook: dict[str, Any], command: Shell = shell) -> dict[str, Any]:
    """Run the code cells of a notebook, set their outputs and numbers, and return the names that they define.

    ``command`` runs a line of the shell and returns what it prints.
    Raises: what a cell raises.
    """
    names: dict[str, Any] = {"__name__": "notebook", "shell": command}
    cells = (cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    for number, cell in enumerate(cells, 1):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(program("".join(cell["source"])), f"cell {number}", "exec"), names)
        text = printed.getvalue().splitlines(keepends=True)
        cell["execution_count"] = number
        cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": text}] if text else []
    return names


if __name__ == "__main__":
    path = Path(sys.argv[1])
    content = json.loads(path.read_text())
    run(content)
    path.write_text(json.dumps(content, indent=1) + "\n")
