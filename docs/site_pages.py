"""Pages of the documentation site that are not files of docs/: the hooks that MkDocs calls while it builds.

A link from a page to a file of the repository leads to a copy of that file in the site: Markdown and notebooks as
pages, sources as pages with their text, everything else as it is. The references of commands and of Python are written
from the program's own options and docstrings.
"""

import json
import os
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

TOP = Path(__file__).parent.parent
sys.path[:0] = [str(TOP), str(TOP / "docs")]

import list_commands  # noqa: E402

COPIES = "repository"
"""Folder of the site with the files of the repository outside of docs/."""
LINK = re.compile(r"(!?\[[^]]*\]\()([^)#\s]+)(#[^)\s]*)?(\))")
TEXTS = {".py": "python", ".toml": "toml", ".c": "c", ".h": "c", ".txt": "text", ".sh": "sh", "": "text"}
"""Endings of files that become a page with their text, and its language."""
PYTHON = """# Python reference

`import edgephys as ep` has two functions and two classes. The [notebook](../repository/examples/first_steps.ipynb.md)
uses them from a Keras network to Verilog.

## Functions

::: edgephys.api.load

::: edgephys.api.open_project

## A model

::: edgephys.api.LoadedModel

## A project

::: edgephys.api.OpenedProject

## What they return

::: edgephys.core.figure.Figure

::: edgephys.verify.run.Verified

## Errors

::: edgephys.core.errors
"""


def site_path(path: str) -> str:
    """Return the place in the site of a file of the repository, both relative to their tops."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    ending = Path(path).suffix
    if (TOP / path).is_dir():
        return f"{COPIES}/{path}/README.md"
    return f"{COPIES}/{path}.md" if ending in TEXTS or ending == ".ipynb" else f"{COPIES}/{path}"


def linked(text: str, path: str) -> list[str]:
    """Return the files and folders of the repository that a page links to; ``path`` is the page's own."""
    targets = (posixpath.normpath(posixpath.join(posixpath.dirname(path), link[1])) for link in LINK.findall(text))
    return [target for target in targets if (TOP / target).exists() and not target.startswith("..")]


def text_of(path: str) -> str:
    """Return the Markdown of a file or folder of the repository that becomes a page."""
    file = TOP / path
    if file.is_dir():
        return (file / "README.md").read_text() if (file / "README.md").exists() else folder_page(file)
    if file.suffix == ".ipynb":
        return notebook_page(json.loads(file.read_text()))
    if file.suffix in TEXTS:
        return f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n````{TEXTS[file.suffix]}\n{file.read_text()}````\n"
    return file.read_text()


def folder_page(folder: Path) -> str:
    """Return a page with the names of a folder's files."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.name != "__pycache__")
    return "\n".join([f"# {folder.relative_to(TOP)}", "", *(f"- `{name}`" for name in names)]) + "\n"


def notebook_page(notebook: dict[str, Any]) -> str:
    """Return a notebook as Markdown: its texts, its cells and what they printed."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"````python\n{source}\n````")
        for output in cell.get("outputs", ()):
            parts.append(f"````text\n{''.join(output['text'])}\n````")
    return "\n\n".join(parts) + "\n"


def on_files(files: Files, config: Any) -> Files:
    """Add the files of the repository that pages link to, and those that these link to, and the references."""
    seen = {f"docs/{file.src_uri}" for file in files}
    waiting = [(path, text_of(path)) for path in sorted(seen) if path.endswith(".md")]
    while waiting:
        path, text = waiting.pop()
        for target in linked(text, path):
            if target in seen or target.startswith("docs/"):
                continue
            seen.add(target)
            place = site_path(target)
            if not place.endswith(".md"):
                files.append(File.generated(config, place, abs_src_path=str(TOP / target)))
                continue
            if files.get_file_from_path(place) is None:
                inner = target if not (TOP / target).is_dir() else f"{target}/README.md"
                files.append(File.generated(config, place, content=text_of(target)))
                waiting.append((inner, text_of(target)))
    files.append(File.generated(config, "reference/commands.md", content=list_commands.page()))
    files.append(File.generated(config, "reference/python.md", content=PYTHON))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Return a page whose links to files of the repository lead to their places in the site."""
    place = page.file.src_uri
    if place.startswith("reference/"):
        return markdown
    path = place.removeprefix(f"{COPIES}/") if place.startswith(f"{COPIES}/") else f"docs/{place}"

    def moved(match: re.Match[str]) -> str:
        before, link, anchor, after = match.groups()
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
        if "://" in link or target.startswith("..") or not (TOP / target).exists():
            return match[0]
        relative = os.path.relpath(site_path(target), posixpath.dirname(place) or ".")
        return f"{before}{relative}{anchor or ''}{after}"

    return LINK.sub(moved, markdown)
