"""The published rules of Vitis HLS and Catapult for code that is synthesised: one entry of a table for each.

Source: AMD, Vitis High-Level Synthesis User Guide (UG1399), chapter "Unsupported C/C++ Constructs" and the pages named
in the table; Catapult has the same limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgephys.targets.hls.libclang import Cursor, constant
from edgephys.targets.hls.loop_rules import Breaks, loops
from edgephys.targets.hls.syntax import SyntaxTree, TreeNode

MEMORY = frozenset(
    {"malloc", "calloc", "realloc", "free", "alloca", "__builtin_alloca", "operator new", "operator delete"}
)
MATH = frozenset(
    {
        "abs",
        "fabs",
        "ceil",
        "floor",
        "round",
        "trunc",
        "rint",
        "fmin",
        "fmax",
        "fmod",
        "pow",
        "sqrt",
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
        "atan",
        "atan2",
        "sinh",
        "cosh",
        "tanh",
    }
)
"""Functions that both vendors synthesise (UG1399, HLS Math Library)."""
ALLOWED = frozenset({"__assert_fail", "__assert", "__assert_rtn", *MATH})
"""Functions of the system that may be called; the first are what the macro assert calls."""
STREAM = "stream"
"""The vendor's class whose constructor takes a name for messages; only its simulation makes a string of it."""
CONTAINERS = frozenset({"array"})
"""Class templates of the standard library that may be used for a variable."""


@dataclass(frozen=True)
class Rule:
    """State what synthesised code must not contain, where the vendor says so, and how it is recognised."""

    name: str
    source: str
    finds: Callable[[SyntaxTree], Breaks]


def broken(program: SyntaxTree) -> Iterator[tuple[Cursor, str, Rule]]:
    """Yield every node that breaks a rule, with what it is."""
    for rule in RULES:
        for cursor, what in rule.finds(program):
            yield cursor, what, rule


def _memory(program: SyntaxTree) -> Breaks:
    for node in program.nodes("CXX_NEW_EXPR", "CXX_DELETE_EXPR"):
        yield node.cursor, "new" if node.kind == "CXX_NEW_EXPR" else "delete"
    for node in program.nodes("CALL_EXPR"):
        if node.cursor.spelling in MEMORY:
            yield node.cursor, f"a call of {node.cursor.spelling}"
    for node in program.nodes("VAR_DECL"):
        if node.cursor.type.kind.name == "VARIABLEARRAY":
            yield node.cursor, f"the array {node.cursor.spelling}, whose size is not constant"


def _recursion(program: SyntaxTree) -> Breaks:
    """Yield a call of every circle of calls, by a search that follows each function once."""
    done: set[int] = set()
    active: list[int] = []

    def follow(key: int) -> Breaks:
        active.append(key)
        for called, node in program.functions[key].calls.items():
            if called in active:
                yield node.cursor, f"{program.functions[called].name} calls itself"
            elif called not in done:
                yield from follow(called)
        done.add(active.pop())

    yield from follow(program.top.cursor.hash)


def _virtual(program: SyntaxTree) -> Breaks:
    for function in program.functions.values():
        if function.cursor.kind.name == "CXX_METHOD" and function.cursor.is_virtual_method():
            yield function.cursor, f"the virtual function {function.name}"
    for node in program.nodes("CALL_EXPR"):
        called = node.cursor.referenced
        if called is not None and called.kind.name == "CXX_METHOD" and called.is_virtual_method():
            yield node.cursor, f"a call of the virtual function {called.spelling}"


def _kinds(*kinds: str, what: str) -> Callable[[SyntaxTree], Breaks]:
    def finds(program: SyntaxTree) -> Breaks:
        for node in program.nodes(*kinds):
            yield node.cursor, what

    return finds


def _function_pointers(program: SyntaxTree) -> Breaks:
    for node in program.nodes("CALL_EXPR"):
        called = node.cursor.referenced
        if called is not None and called.kind.name in ("VAR_DECL", "PARM_DECL", "FIELD_DECL"):
            yield node.cursor, f"a call through the pointer {called.spelling}"
    for node in program.nodes("VAR_DECL", "PARM_DECL"):
        type_ = node.cursor.type.get_canonical()
        if type_.kind.name == "POINTER" and type_.get_pointee().kind.name == "FUNCTIONPROTO":
            yield node.cursor, f"the pointer {node.cursor.spelling} to a function"


def _containers(program: SyntaxTree) -> Breaks:
    for node in program.nodes("VAR_DECL", "PARM_DECL", "CXX_TEMPORARY_OBJECT_EXPR"):
        declared = node.cursor.type.get_canonical()
        while declared.kind.name in ("LVALUEREFERENCE", "RVALUEREFERENCE", "POINTER"):
            declared = declared.get_pointee()
        class_ = declared.get_declaration()
        if _is_standard(class_) and class_.spelling not in CONTAINERS:
            yield node.cursor, f"{node.cursor.spelling} of the class std::{class_.spelling}"


def _is_standard(cursor: Cursor) -> bool:
    while cursor is not None and cursor.kind.name != "TRANSLATION_UNIT":
        if cursor.kind.name == "NAMESPACE" and cursor.spelling == "std":
            return True
        if cursor.kind.is_invalid():
            return False
        cursor = cursor.semantic_parent
    return False


def _system(program: SyntaxTree) -> Breaks:
    names = {part.hash for stream in _streams(program) for part in stream.walk_preorder()}
    for node in program.nodes("CALL_EXPR"):
        called = node.cursor.referenced
        if (
            node.cursor.hash in names
            or called is None
            or not called.spelling
            or called.kind.name in ("VAR_DECL", "PARM_DECL", "FIELD_DECL")
        ):
            continue
        elsewhere = not program.is_ours(called) and not program.is_vendors(called)
        if elsewhere and called.spelling not in ALLOWED | MEMORY and not _is_constant_expression(node):
            yield node.cursor, f"a call of {called.spelling}"


def _streams(program: SyntaxTree) -> Iterator[Cursor]:
    """Yield the constructor calls of the vendor's streams."""
    for node in program.nodes("CALL_EXPR"):
        called = node.cursor.referenced
        if called is None or called.kind.name != "CONSTRUCTOR" or called.spelling != STREAM:
            continue
        if program.is_vendors(called):
            yield node.cursor


def _is_constant_expression(node: TreeNode) -> bool:
    """Return whether the compiler computes a call: its result is a number in the synthesised code."""
    return constant(node.cursor) is not None


def _bodies(program: SyntaxTree) -> Breaks:
    for node in program.nodes("CALL_EXPR"):
        called = node.cursor.referenced
        if called is None or not program.is_ours(called) or called.kind.name not in ("FUNCTION_DECL", "CXX_METHOD"):
            continue
        if called.get_definition() is None and not called.is_default_method():
            yield node.cursor, f"a call of {called.spelling}, which has no body in the sources"


RULES = (
    Rule("dynamic-memory", "Dynamic Memory Usage", _memory),
    Rule("recursion", "Recursive Functions", _recursion),
    Rule("loop-bound", "Variable Loop Bounds", loops),
    Rule("virtual-function", "Recursive Functions (note); Pointer Limitations", _virtual),
    Rule(
        "exception",
        "Unsupported C/C++ Constructs",
        _kinds("CXX_THROW_EXPR", "CXX_TRY_STMT", "CXX_CATCH_STMT", what="an exception"),
    ),
    Rule(
        "run-time-type",
        "Unsupported C/C++ Constructs",
        _kinds("CXX_TYPEID_EXPR", "CXX_DYNAMIC_CAST_EXPR", what="a type that is known only at run time"),
    ),
    Rule("function-pointer", "Pointer Limitations", _function_pointers),
    Rule("container", "Standard Template Libraries", _containers),
    Rule("system-call", "System Calls", _system),
    Rule("assembly", "Unsupported C/C++ Constructs", _kinds("ASM_STMT", "MS_ASM_STMT", what="inline assembly")),
    Rule("missing-body", "Unsupported C/C++ Constructs", _bodies),
)
