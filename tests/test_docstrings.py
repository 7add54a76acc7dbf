"""A public method has a docstring, or overrides one that has: a contract is stated once."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent / "edgephys"


def classes():
    """Yield (file, class, names of its bases)."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
                yield path, node, [ast.unparse(base).split(".")[-1] for base in bases]


def methods(node):
    return {part.name: ast.get_docstring(part) for part in node.body if isinstance(part, ast.FunctionDef)}


def test_every_public_method_is_documented_where_its_contract_is_stated():
    known = {}
    for _, node, bases in classes():
        known.setdefault(node.name, []).append((methods(node), bases))

    def documented(name, bases):
        entries = [entry for base in bases for entry in known.get(base, [])]
        return any(own.get(name) or documented(name, others) for own, others in entries)

    missing = [
        f"{path.relative_to(ROOT)}: {node.name}.{name}"
        for path, node, bases in classes()
        if not node.name.startswith("_")
        for name, text in methods(node).items()
        if not name.startswith("_") and not text and not documented(name, bases)
    ]
    assert not missing
