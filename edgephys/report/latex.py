"""Write a declared table in LaTeX: a tabular with the lines of the package booktabs, to be read with \\input."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgephys.report.table import PAGE, Table

SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$", "·": r"$\cdot$", "–": "--", "…": r"\dots{}",
    "|": r"\textbar{}", "µ": r"\textmu{}", "²": r"$^2$", "ᵀ": r"$^T$",
}  # fmt: skip
"""Signs that LaTeX reads as commands, or that its older fonts lack."""
SPECIAL = re.compile("|".join(map(re.escape, SIGNS)))


def escaped(text: str) -> str:
    """Return text that LaTeX sets as it is."""
    return SPECIAL.sub(lambda sign: SIGNS[sign[0]], text)


def tabular(table: Table) -> str:
    """Return a table, with its title as a comment; rows of a group stand below the group's name."""
    columns = table.shown_in(PAGE)
    if not columns:
        return f"% {_comment(table.title)}: no table\n"
    lines = [
        f"% {_comment(table.title)}; needs \\usepackage{{booktabs}}",
        f"\\begin{{tabular}}{{{''.join('l' if column.left else 'r' for column in columns)}}}",
        "\\toprule",
        _line([column.label for column in columns]),
        "\\midrule",
    ]
    for name, rows in table.groups():
        lines += [f"\\multicolumn{{{len(columns)}}}{{l}}{{\\emph{{{escaped(name)}}}}} \\\\"] if name else []
        lines += [_line([column.show(row) for column in columns]) for row in rows]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _line(cells: Sequence[str]) -> str:
    return " & ".join(escaped(cell) for cell in cells) + " \\\\"


def _comment(title: str) -> str:
    return " ".join(title.split())
