"""What libclang's Python module does not offer by itself: constants and operators of expressions."""

from __future__ import annotations

import functools
from ctypes import c_int, c_longlong, c_void_p
from typing import Any

Cursor = Any
"""A node of libclang's tree."""


def constant(cursor: Cursor) -> int | None:
    """Return the integer that the compiler computes for an expression; None where it is not constant."""
    library = _library()
    result = library.clang_Cursor_Evaluate(cursor)
    if not result:
        return None
    try:
        return (
            int(library.clang_EvalResult_getAsLongLong(result))
            if library.clang_EvalResult_getKind(result) == 1
            else None
        )
    finally:
        library.clang_EvalResult_dispose(result)


def operator(cursor: Cursor) -> str:
    """Return the operator of an expression, such as "<" or "++"; empty where it has none."""
    library = _library()
    kind = cursor.kind.name
    if kind == "UNARY_OPERATOR":
        return UNARY.get(library.clang_getCursorUnaryOperatorKind(cursor), "")
    return BINARY.get(library.clang_getCursorBinaryOperatorKind(cursor), "")


BINARY = {11: "<", 12: ">", 13: "<=", 14: ">=", 15: "==", 16: "!=", 20: "&&", 22: "=", 26: "+=", 27: "-=", 33: ","}
UNARY = {1: "++", 2: "--", 3: "++", 4: "--"}
"""Operators by libclang's numbers (CXBinaryOperatorKind, CXUnaryOperatorKind)."""


@functools.cache
def _library() -> Any:
    from clang.cindex import Cursor as Type
    from clang.cindex import conf

    library = conf.lib
    results: dict[str, tuple[Any, Any]] = {
        "clang_Cursor_Evaluate": (Type, c_void_p),
        "clang_getCursorBinaryOperatorKind": (Type, c_int),
        "clang_getCursorUnaryOperatorKind": (Type, c_int),
        "clang_EvalResult_getAsLongLong": (c_void_p, c_longlong),
        "clang_EvalResult_getKind": (c_void_p, c_int),
        "clang_EvalResult_dispose": (c_void_p, None),
    }
    for name, (argument, result) in results.items():
        function = getattr(library, name)
        function.argtypes, function.restype = [argument], result
    return library
