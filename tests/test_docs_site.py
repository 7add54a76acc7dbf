"""`make docs` builds the site without a warning, and the site fetches nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import TOP, commands

FETCHED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(?:https?:)?//|<link\b[^>]*rel=\"?stylesheet[^>]*//"
)
LIST_IN_A_PARAGRAPH = re.compile(r"<p>(?:(?!</p>).)*\n[-*] ", re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site with what `make docs` calls; a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    program = Path(sys.executable).parent / "mkdocs"
    words = [program, "build", "--strict", "--quiet", "--site-dir", folder]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=TOP, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return folder


def pages(site):
    return {path.relative_to(site): path.read_text() for path in sorted(site.rglob("*.html"))}


def test_make_docs_builds_in_strict_mode():
    assert re.search(r"^docs: install\n\t.*mkdocs build --strict", (TOP / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.slow
def test_the_site_is_built_and_every_link_within_it_leads_to_a_file(site):
    for page, text in pages(site).items():
        if page.name == "404.html":
            continue  # its links are those of the top of a server
        for link in re.findall(r"(?:href|src)=\"([^\"#?]+)", text):
            if "://" not in link and not link.startswith(("data:", "mailto:")):
                assert (site / page.parent / link).exists(), f"{page}: {link}"


@pytest.mark.slow
def test_the_site_fetches_nothing(site):
    assert not [page for page, text in pages(site).items() if FETCHED.search(text)]
    assert not [path for path in site.rglob("*.css") if re.search(r"url\(\"?(?:https?:)?//", path.read_text())]


@pytest.mark.slow
def test_no_list_of_a_page_is_shown_as_a_paragraph(site):
    assert not [page for page, text in pages(site).items() if LIST_IN_A_PARAGRAPH.search(text)]


@pytest.mark.slow
def test_the_references_hold_every_command_and_the_python_entry(site):
    text = (site / "reference" / "commands.html").read_text()
    lacking = [name for name, command in commands() if f'id="{name.replace(" ", "-")}"' not in text]
    assert not lacking
    python = (site / "reference" / "python.html").read_text()
    for name in ("load", "open_project", "LoadedModel.predict", "LoadedModel.emit", "OpenedProject.verify"):
        assert f'id="edgephys.api.{name}"' in python


@pytest.mark.slow
def test_notebooks_and_sources_that_pages_link_to_are_pages(site):
    for name in ("examples/jets.ipynb", "edgephys/graph/ops/op.py", "compress/frugal.toml", "hls_projects/results/ii"):
        assert (site / "repository" / f"{name}.html").is_file(), name
