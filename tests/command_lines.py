"""Commands as help texts, pages and notebooks state them: their lines, and whether the program takes them."""

import json
import re
import shlex
from pathlib import Path

import typer

from edgephys import cli

TOP = Path(__file__).parent.parent
PAGES = [
    *(TOP / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((TOP / "docs").glob("*.md")),
    *(TOP / folder / "README.md" for folder in ("examples", "models", "compress", "compress/rival", "hls_projects")),
]
NOTEBOOKS = sorted((TOP / "examples").glob("*.ipynb"))
SCRIPTS = sorted((TOP / "examples").glob("*.py"))


def commands():
    """Yield (name, command) of every command, in the order of `edgephys --help`."""
    group = typer.main.get_command(cli.program())
    context = group.make_context("edgephys", [], resilient_parsing=True)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            inner = command.make_context(name, [], resilient_parsing=True)
            yield from ((f"{name} {word}", command.get_command(inner, word)) for word in command.list_commands(inner))
        else:
            yield name, command


def parse(line):
    """Give a line to the program without running its command; raise typer's error where it does not take it."""
    group, words = typer.main.get_command(cli.program()), shlex.split(line, comments=True)[1:]
    if words in (["--version"], ["--help"]):
        return
    context = group.make_context("edgephys", words)
    while hasattr(group, "resolve_command"):
        name, group, words = group.resolve_command(context, words)
        context = group.make_context(name, words, parent=context)


def blocks(page):
    """Return [(language, text)] of the fenced blocks of a page."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def lines_of(path):
    """Return the lines of a page, notebook or script that call the program."""
    text = path.read_text()
    if path.suffix == ".ipynb":
        cells = ["".join(cell["source"]) for cell in json.loads(text)["cells"]]
        lines = [line.removeprefix("!") for cell in cells for line in joined(cell) if line.startswith("!")]
    else:
        shell = [line for language, block in blocks(path) if language == "sh" for line in joined(block)]
        lines = shell + [line.strip() for line in joined(text) if line.startswith("    ")]
    return [line for line in lines if line.startswith("edgephys ")]


def joined(text):
    """Return the lines of a text, those that end in a backslash joined with the next."""
    return text.replace("\\\n", " ").splitlines()
