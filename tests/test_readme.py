"""README: short, its figures are those of the kept tables, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
TEXT = (TOP / "README.md").read_text()
REACHED = re.findall(r"^\| ([^|]+) \| ([^|]+) \| \[[^]]+\]\((hls_projects/results/\w+\.md)\) \|$", TEXT, re.MULTILINE)
NUMBERS = re.compile(r"\d[\d,]*\.\d+ ± \d+\.\d+|\d[\d,]*\.\d+|\d{1,3}(?:,\d{3})+")


def test_readme_is_no_longer_than_a_screen_and_a_half():
    assert len(TEXT.splitlines()) <= 80


def test_readme_states_figures_with_the_page_that_they_are_from():
    assert len(REACHED) >= 6


@pytest.mark.parametrize(("what", "figures", "page"), REACHED)
def test_each_figure_of_readme_is_in_the_page_that_it_names(what, figures, page):
    text = (TOP / page).read_text()
    numbers = NUMBERS.findall(figures) or re.findall(r"\d+", figures)
    assert numbers
    for number in numbers:
        assert re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d]|[.,]\d)", text), f"{what}: {number} is not in {page}"


@pytest.mark.parametrize("page", ["README.md", "docs/results.md", "docs/commands.md", "docs/index.md"])
def test_links_to_files_lead_to_them(page):
    path = TOP / page
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()) if "://" not in link]
    assert links and all((path.parent / link).exists() for link in links)


def test_no_figure_stands_outside_of_the_table_of_readme():
    outside = "\n".join(line for line in TEXT.splitlines() if not line.startswith("|") and not line.startswith("    "))
    assert not re.findall(r"\d+(?:\.\d+)?\s*(?:%|LUT|µs|ns|k\b)", outside)
