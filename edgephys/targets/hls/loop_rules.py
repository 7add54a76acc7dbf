"""Which loops of a program have no constant bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edgephys.targets.hls.libclang import Cursor, constant, operator
from edgephys.targets.hls.syntax import TRANSPARENT, SyntaxTree

Breaks = Iterator[tuple[Cursor, str]]
"""Nodes that break a rule, each with what it is."""

LOOPS = ("FOR_STMT", "WHILE_STMT", "DO_STMT", "CXX_FOR_RANGE_STMT")
STEPS = frozenset({"++", "--", "+=", "-="})
COMPARISONS = frozenset({"<", ">", "<=", ">=", "!="})


def loops(program: SyntaxTree) -> Breaks:
    """Yield every loop without a constant bound, and every goto."""
    for node in program.nodes(*LOOPS):
        why = LOOP_CHECKS[node.kind](node.cursor)
        if why is not None:
            yield node.cursor, why
    for node in program.nodes("GOTO_STMT", "INDIRECT_GOTO_STMT"):
        yield node.cursor, "goto"


def _while(loop: Cursor) -> str | None:
    condition = next(iter(loop.get_children()))
    return None if constant(condition) == 0 else "a while loop"


def _do(loop: Cursor) -> str | None:
    return None if constant(list(loop.get_children())[-1]) == 0 else "a do loop"


def _range(loop: Cursor) -> str | None:
    kinds = {child.type.get_canonical().kind.name for child in loop.get_children()}
    return None if "CONSTANTARRAY" in kinds else "a loop over what is not an array of constant size"


def _for(loop: Cursor) -> str | None:
    """Return why a for loop has no constant bound; None where it has one."""
    *head, body = loop.get_children()
    conditions = [part for child in head for part in _conjuncts(child)]
    steps = {variable for child in head for variable in _stepped(child)}
    for condition in conditions:
        left, right = condition.get_children()
        for bound, other in ((right, left), (left, right)):
            variables = {reference.referenced.hash for reference in _references(other)} & steps
            if constant(bound) is None or not variables:
                continue
            changed = variables & {variable for part in body.walk_preorder() for variable in _changed(part)}
            return "a for loop that changes its variable in its body" if changed else None
    return "a for loop whose bound is not constant"


LOOP_CHECKS: dict[str, Callable[[Cursor], str | None]] = {
    "FOR_STMT": _for,
    "WHILE_STMT": _while,
    "DO_STMT": _do,
    "CXX_FOR_RANGE_STMT": _range,
}


def _conjuncts(cursor: Cursor) -> Iterator[Cursor]:
    """Yield the comparisons of which all must hold for a condition to hold."""
    kind = cursor.kind.name
    if kind in TRANSPARENT or (kind == "BINARY_OPERATOR" and operator(cursor) == "&&"):
        for child in cursor.get_children():
            yield from _conjuncts(child)
    elif kind == "BINARY_OPERATOR" and operator(cursor) in COMPARISONS:
        yield cursor


def _references(cursor: Cursor) -> list[Cursor]:
    return [
        part for part in cursor.walk_preorder() if part.kind.name == "DECL_REF_EXPR" and part.referenced is not None
    ]


def _stepped(cursor: Cursor) -> Iterator[int]:
    """Yield the variables that an expression moves by a constant."""
    if cursor.kind.name == "BINARY_OPERATOR" and operator(cursor) == ",":
        for child in cursor.get_children():
            yield from _stepped(child)
    elif operator(cursor) in STEPS:
        moved, *by = cursor.get_children()
        if all(constant(step) is not None for step in by):
            yield from (reference.referenced.hash for reference in _references(moved))


def _changed(cursor: Cursor) -> Iterator[int]:
    """Yield the variables that a node assigns to."""
    kind = cursor.kind.name
    assigns = kind == "COMPOUND_ASSIGNMENT_OPERATOR" or (
        kind in ("BINARY_OPERATOR", "UNARY_OPERATOR") and operator(cursor) in ("=", "++", "--")
    )
    if assigns:
        target = next(iter(cursor.get_children()))
        while target.kind.name in TRANSPARENT:
            target = next(iter(target.get_children()))
        if target.kind.name == "DECL_REF_EXPR" and target.referenced is not None:
            yield target.referenced.hash
