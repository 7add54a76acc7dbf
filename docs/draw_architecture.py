"""Draw the packages of edgephys in the order of the data flow, with what each imports: docs/architecture.svg.

    python docs/draw_architecture.py            # write the figure and the table in docs/architecture.md
    python docs/draw_architecture.py --check    # exit 1 where the table is not what the code imports

Both come from the import statements of the code and from the first line of each package's docstring.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent / "edgephys"
PAGE, FIGURE = DOCS / "architecture.md", DOCS / "architecture.svg"
BEGIN, END = "<!-- packages: written by draw_architecture.py -->\n", "<!-- end of packages -->\n"


def packages() -> list[str]:
    """Return the packages and top-level modules in the order that tests/test_imports.py holds them to."""
    tree = ast.parse((DOCS.parent / "tests" / "test_imports.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ORDER":
            return [str(name) for name in ast.literal_eval(node.value)]
    raise SystemExit("tests/test_imports.py: expected a tuple ORDER, found none")


def owner(module: str, names: list[str]) -> str | None:
    """Return the longest package name that a module lies in; None for the package edgephys itself."""
    return max((n for n in names if module == n or module.startswith(f"{n}.")), key=len, default=None)


def module_name(path: Path) -> str:
    """Return the dotted name of a file, without ``edgephys.``."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(names: list[str]) -> dict[str, set[str]]:
    """Return, by package, the packages that its files import anywhere in their text."""
    edges: dict[str, set[str]] = {name: set() for name in names}
    for path in sorted(ROOT.rglob("*.py")):
        importer = owner(module_name(path), names)
        for node in ast.walk(ast.parse(path.read_text())):
            if importer is None or not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            for alias in node.names:
                dotted = f"{node.module}.{alias.name}".removeprefix("edgephys.")
                imported = owner(dotted, names) if node.module.split(".")[0] == "edgephys" else None
                if imported not in (None, importer):
                    edges[importer].add(str(imported))
    return edges


def summary(name: str) -> str:
    """Return the first line of a package's docstring."""
    path = ROOT / name.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_text())) or ""
    return text.split("\n\n")[0].replace("\n", " ").rstrip(".")


def needed(edges: dict[str, set[str]], name: str) -> set[str]:
    """Return the imports of a package that are not implied by another of its imports."""

    def reached(start: str) -> set[str]:
        return set().union(*({other} | reached(other) for other in edges[start] if other != start), set())

    return {one for one in edges[name] if not any(one in reached(other) for other in edges[name] - {one})}


def table(names: list[str], edges: dict[str, set[str]]) -> str:
    """Return the table of packages in Markdown."""
    rows = ["| package | what it is | imports |", "| --- | --- | --- |"]
    for name in names:
        imported = ", ".join(other for other in names if other in edges[name]) or "–"
        rows.append(f"| `{name}` | {summary(name)} | {imported} |")
    return "\n".join(rows) + "\n"


def draw(names: list[str], edges: dict[str, set[str]]) -> None:
    """Write the figure: packages from top to bottom, an arc from each to what it imports."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "edgephys", "svg.fonttype": "none", "font.family": "sans-serif"})
    from matplotlib import pyplot
    from matplotlib.patches import FancyArrowPatch

    figure, axes = pyplot.subplots(figsize=(11.4, 0.46 * len(names) + 0.4))
    place = {name: -number for number, name in enumerate(names)}
    for name in names:
        axes.text(-0.15, place[name], name, ha="right", va="center", fontsize=11, fontweight="bold")
        axes.text(-6.4, place[name], summary(name), ha="right", va="center", fontsize=8.5, color="#444444")
        axes.plot(0, place[name], "o", color="#1f4e79", markersize=6)
        direct = needed(edges, name)
        for other in sorted(edges[name]):
            colour, width = ("#1f4e79", 1.3) if other in direct else ("#c5ced8", 0.7)
            axes.add_patch(
                FancyArrowPatch(
                    (0.06, place[name]),
                    (0.06, place[other]),
                    connectionstyle="arc3,rad=0.55",
                    arrowstyle="-|>",
                    mutation_scale=8,
                    color=colour,
                    linewidth=width,
                    zorder=2 if other in direct else 1,
                )
            )
    axes.set_xlim(-15.9, 4.2)
    axes.set_ylim(-len(names) + 0.4, 0.6)
    axes.axis("off")
    figure.savefig(FIGURE, bbox_inches="tight", metadata={"Date": None, "Creator": "docs/draw_architecture.py"})


def main() -> int:
    """Write the table and the figure, or check the table."""
    names = packages()
    edges = imports(names)
    text = PAGE.read_text()
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    fresh = text[:start] + table(names, edges) + text[end:]
    if "--check" in sys.argv[1:]:
        if fresh != text:
            print("docs/architecture.md: expected the imports of the code, found others; run docs/draw_architecture.py")
        return int(fresh != text)
    PAGE.write_text(fresh)
    draw(names, edges)
    return 0


if __name__ == "__main__":
    sys.exit(main())
