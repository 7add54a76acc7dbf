"""What the pages say of commands is so: each line is taken by the program, each option and make target exists."""

import re
import subprocess
import sys
from itertools import chain

import pytest
import typer
from command_lines import NOTEBOOKS, PAGES, SCRIPTS, TOP, commands, lines_of, parse

from edgephys import cli

LINES = [(path.relative_to(TOP), line) for path in (*PAGES, *NOTEBOOKS, *SCRIPTS) for line in lines_of(path)]
TEXTS = {path.relative_to(TOP): path.read_text() for path in PAGES}
INLINE = re.compile(r"`([^`]+)`")


def options_of(command):
    return {"--help", *chain.from_iterable((*of.opts, *of.secondary_opts) for of in command.params)}


OPTIONS = {name: options_of(command) for name, command in commands()}
GENERAL = options_of(typer.main.get_command(cli.program()))
OTHER_PROGRAM = TOP / "compress" / "rival" / "README.md"
"""A page about a script of the repository, whose options stand alone in its sentences."""
MAKEFILE = (TOP / "Makefile").read_text()


def inline(text):
    """Return the pieces of code within the sentences of a page."""
    sentences = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(code.split()) for code in INLINE.findall(sentences) if code.strip()]


def test_the_pages_state_many_commands():
    assert len(LINES) > 100 and {"docs/own_model.md", "examples/jets.ipynb"} <= {str(path) for path, _ in LINES}


@pytest.mark.parametrize(("path", "line"), LINES, ids=lambda value: str(value)[:60])
def test_every_line_of_a_page_is_taken_by_the_program(path, line):
    parse(line)


@pytest.mark.parametrize("page", TEXTS, ids=str)
def test_every_command_and_option_within_a_sentence_exists(page):
    known = set().union(*OPTIONS.values()) | GENERAL
    for code in inline(TEXTS[page]):
        words = code.removeprefix("edgephys ").split()
        name = next((name for name in (" ".join(words[:2]), words[0]) if name in OPTIONS), None)
        stated = {word.split("=")[0].rstrip(",;.") for word in words if re.fullmatch(r"--[a-z-]+.*", word)}
        if name is not None:
            assert stated <= OPTIONS[name], f"{page}: `{code}`"
        elif code.startswith("--") and TOP / page != OTHER_PROGRAM:
            assert stated <= known, f"{page}: `{code}`"
        elif code.startswith("edgephys "):
            assert words[0].isupper() or words[0] in GENERAL, f"{page}: `{code}`"


@pytest.mark.parametrize("page", TEXTS, ids=str)
def test_every_make_target_that_a_page_names_exists(page):
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    named = re.findall(r"(?:`|^ {4}|^)make ([a-z][a-z-]*)", TEXTS[page], re.MULTILINE)
    assert set(named) - {"verilator"} <= targets  # `make verilator` is of an emitted project


def test_every_page_is_in_the_menu_of_the_site():
    menu = set(re.findall(r": ([a-z0-9_]+\.md)$", (TOP / "mkdocs.yml").read_text(), re.MULTILINE))
    assert menu == {path.name for path in (TOP / "docs").glob("*.md")}


@pytest.mark.parametrize("name", ["draw_compression", "draw_accuracy"])
def test_a_picture_of_the_pages_is_drawn_from_the_kept_results(name):
    script = TOP / "docs" / f"{name}.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_kept_table_is_in_the_list_of_how_figures_are_made():
    results = (TOP / "hls_projects" / "results").glob("*.md")
    tables = {path.name for path in results if not path.name.startswith("demo")}  # those of `make demo` are not kept
    assert tables == set(re.findall(r"results/(\w+\.md)\)", (TOP / "docs" / "figures.md").read_text()))
