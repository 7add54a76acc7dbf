"""Every failure that edgephys explains: one base class, few children.

A message says which object, what was expected, what came and what to do, on one line.
"""


class EdgephysError(Exception):
    """Base of every failure that edgephys explains on one line (exit code 1)."""


class UsageError(EdgephysError):
    """An option or argument is out of its range (exit code 2)."""


class UselessIntervalError(UsageError):
    """An initiation interval at which nothing of a network comes in turn; another one may work."""


class DataError(EdgephysError):
    """A data file is truncated, lacks a column, or holds what no model may see."""


class ModelError(EdgephysError):
    """A model cannot be read, or cannot be computed exactly on the target."""


class ToolError(EdgephysError):
    """An outside tool is missing, was killed, or ended with a non-zero status."""


def not_installed(purpose: str, error: ImportError, extra: str) -> ToolError:
    """Return the error of a module that belongs to an optional group of packages."""
    return ToolError(f"{purpose}: expected the module '{error.name}', not installed; pip install 'edgephys[{extra}]'")


class ProjectError(EdgephysError):
    """A project folder is not ours, incomplete, or was changed after its emission."""


class MismatchError(EdgephysError):
    """A target computes other integers than the golden model."""
