"""Write the reference of the commands in Markdown, from the program's own options and help.

python docs/list_commands.py    print the page, which `make docs` puts into the site
"""

from collections.abc import Iterator
from typing import Any

import typer

from edgephys import cli

HEAD = """# Commands

Written from the program's own help, in its order; `edgephys COMMAND --help` prints the same.
Exit codes: 0 done, 1 a failure that one line explains, 2 a wrong command line.
"""


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Yield name, command and context of every command that the help lists, in its order."""
    group = typer.main.get_command(cli.program())
    yield from _inner(group, group.make_context("edgephys", [], resilient_parsing=True), "")


def _inner(group: Any, context: Any, before: str) -> Iterator[tuple[str, Any, Any]]:
    for word in group.list_commands(context):
        command, name = group.get_command(context, word), f"{before}{word}"
        if command.hidden:
            continue
        inner = command.make_context(word, [], parent=context, resilient_parsing=True)
        if hasattr(command, "list_commands"):
            yield from _inner(command, inner, f"{name} ")
        else:
            yield name, command, inner


def is_example(line: str) -> bool:
    """Return whether a line of a help text is an example."""
    return line.strip().removeprefix("Example: ").startswith("edgephys ") and line.startswith((" ", "Example: "))


def section(name: str, command: Any, context: Any) -> str:
    """Return the section of a command: what it does, its examples, its arguments and options."""
    lines = (command.help or "").replace("\b", "").splitlines()
    examples = [f"    {line.strip().removeprefix('Example: ')}" for line in lines if is_example(line)]
    text = "\n".join(line for line in lines if not is_example(line)).strip().replace("<", "&lt;")
    records = [record for record in (of.get_help_record(context) for of in command.get_params(context)) if record]
    rows = [f"| `{cell(words)}` | {cell(help_text).replace('<', '&lt;')} |" for words, help_text in records]
    table = "\n".join(["| argument or option | what it is |", "| --- | --- |", *rows])
    usage = " ".join(command.collect_usage_pieces(context))
    return "\n\n".join([f"## {name}", f"`edgephys {name} {usage}`", text, "\n".join(examples), table])


def cell(text: str) -> str:
    """Return a text for one cell of a table in Markdown."""
    return " ".join(text.split()).replace("|", "\\|")


def page() -> str:
    """Return the page."""
    return "\n\n".join([HEAD.strip(), *(section(*of) for of in commands())]) + "\n"


if __name__ == "__main__":
    print(page(), end="")
