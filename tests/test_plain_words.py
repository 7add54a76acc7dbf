"""The code and its texts use the field's words: no metaphors, no class name twice, no locals that say nothing."""

import ast
import re
from collections import defaultdict
from pathlib import Path

TOP = Path(__file__).parent.parent
SOURCES = sorted((TOP / "edgephys").rglob("*.py"))
TEXTS = [TOP / "README.md", *sorted(TOP.glob("CONTRIBUTING.md")), *sorted((TOP / "docs").rglob("*.md"))]
TESTS = [path for path in sorted((TOP / "tests").glob("*.py")) if path.name != Path(__file__).name]
METAPHORS = re.compile(r"\b(streets?|houses?|roads?|lessons?|pupils?)\b", re.IGNORECASE)
ALLOWED = re.compile(
    r"edgephys street|\" street \"|[\"'`(/]street[\"'`).]|street\.(json|md|png)|\bstreet_(hidden|command)\b"
)
"""The hidden command of the release before, and its table."""
NOTHING_SAID = {"found", "made", "taken", "given", "told", "asked", "kept", "seen"}


def metaphors(path: Path) -> list[str]:
    lines = enumerate(path.read_text().splitlines(), 1)
    return [
        f"{path.relative_to(TOP)}:{number}: {line.strip()}"
        for number, line in lines
        if METAPHORS.search(ALLOWED.sub("", line))
    ]


def test_no_metaphor_is_in_the_package_its_tests_nor_its_texts():
    assert not [line for path in (*SOURCES, *TESTS, *TEXTS) for line in metaphors(path)]


def test_the_newest_part_of_the_changelog_has_no_metaphor():
    newest = re.split(r"^## ", (TOP / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1]
    assert not [line for line in newest.splitlines() if METAPHORS.search(ALLOWED.sub("", line))]


def classes() -> dict[str, list[str]]:
    """Return the files of every class, by its name."""
    files = defaultdict(list)
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                files[node.name].append(str(path.relative_to(TOP)))
    return files


def test_no_two_classes_of_the_package_have_one_name():
    assert not {name: files for name, files in classes().items() if len(files) > 1}


def silent_names(path: Path) -> list[str]:
    """Return the locals, arguments and attributes that are named after nothing."""
    lines = []
    for node in ast.walk(ast.parse(path.read_text())):
        name = None
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        elif isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            name = node.attr
        if name is not None and name.strip("_") in NOTHING_SAID:
            lines.append(f"{path.relative_to(TOP)}:{node.lineno}: {name}")
    return lines


def test_no_name_of_the_package_says_nothing():
    assert not [line for path in SOURCES for line in silent_names(path)]
