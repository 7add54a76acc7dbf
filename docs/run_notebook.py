"""Run the cells of a notebook in order and write what they print into it.

    python docs/run_notebook.py examples/first_steps.ipynb

Run it in an empty folder or in the repository: what the cells write lands in ``runs/`` and ``hls_projects/`` there.
"""

import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any


def run(notebook: dict[str, Any]) -> dict[str, Any]:
    """Run the code cells of a notebook, set their outputs and numbers, and return the names that they define.

    Raises: what a cell raises.
    """
    names: dict[str, Any] = {"__name__": "notebook"}
    cells = (cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    for number, cell in enumerate(cells, 1):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
        text = printed.getvalue().splitlines(keepends=True)
        cell["execution_count"] = number
        cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": text}] if text else []
    return names


if __name__ == "__main__":
    path = Path(sys.argv[1])
    content = json.loads(path.read_text())
    run(content)
    path.write_text(json.dumps(content, indent=1) + "\n")
