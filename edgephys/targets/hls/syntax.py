"""The syntax tree of an emitted HLS project, by libclang: every function that the top function reaches.

The tree is that of the code which is synthesised: ``__SYNTHESIS__`` is defined, but not for the headers of the vendor's
types, whose synthesised form only the vendor's compiler reads. Templates are instantiated.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgephys.core import processes
from edgephys.core.errors import ToolError
from edgephys.core.names import real_path
from edgephys.core.scratch import temporary_files_in
from edgephys.targets.hls.csim import TYPES
from edgephys.targets.hls.libclang import Cursor

STANDARD = "-std=c++17"
PREPROCESS_S = 60.0
END_OF_HEADERS = "struct edgephys_end_of_headers;"
"""The first declaration of the file that is parsed: libclang takes what stands before it for headers."""
WITHOUT_BODIES_OF_HEADERS = 0x04 | 0x40 | 0x100 | 0x800
"""Flags of clang_parseTranslationUnit: PrecompiledPreamble, SkipFunctionBodies, CreatePreambleOnFirstParse and
LimitSkipFunctionBodiesToPreamble. The bodies of the vendor's types are not checked, and take half of the time."""
PRELUDE = {
    "ap_types": ("ap_fixed.h", "ap_int.h", "hls_math.h", "hls_stream.h"),
    "ac_types/include": ("ac_channel.h", "ac_fixed.h", "ac_int.h"),
}
"""Headers that are read before ``__SYNTHESIS__`` is defined, by the folder of the vendor's types."""
MACROS = {"Vitis": ("__VITIS_HLS__",), "Vivado": (), "Catapult": ()}
"""Macros beside ``__SYNTHESIS__`` that the compiler of each backend defines."""
OURS = "nnet_utils"
"""The folder of headers that is not the vendor's."""
FUNCTIONS = ("FUNCTION_DECL", "CXX_METHOD", "CONSTRUCTOR", "DESTRUCTOR", "CONVERSION_FUNCTION")
SCOPES = (
    *("NAMESPACE", "CLASS_DECL", "STRUCT_DECL", "CLASS_TEMPLATE", "CLASS_TEMPLATE_PARTIAL_SPECIALIZATION"),
    *("LINKAGE_SPEC", "UNEXPOSED_DECL"),
)
TRANSPARENT = ("UNEXPOSED_EXPR", "PAREN_EXPR")


@dataclass(frozen=True)
class SourceLine:
    """Name a line of a file, relative to the folder of the emitted sources."""

    path: str
    line: int


@dataclass(frozen=True, eq=False)
class TreeNode:
    """Hold a node of a reached function, its parent, and the function."""

    cursor: Cursor
    parent: Cursor
    function: Function

    @property
    def kind(self) -> str:
        """Name of the kind of node."""
        return str(self.cursor.kind.name)


@dataclass(eq=False)
class Function:
    """Hold a function that the top function reaches: its nodes, and the functions that it calls, by key."""

    cursor: Cursor
    place: SourceLine
    last: int
    nodes: list[TreeNode] = field(default_factory=list)
    calls: dict[int, TreeNode] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the function, without its arguments."""
        return str(self.cursor.spelling)


@dataclass(frozen=True, eq=False)
class Pragma:
    """State a pragma that the preprocessor passes on: its place and its words."""

    place: SourceLine
    text: str


@dataclass(frozen=True, eq=False)
class SyntaxTree:
    """Hold what the top function reaches, by key, and all pragmas of the sources.

    ``bodies`` are the first and last line of every function of the sources, reached or not, by file; ``variables`` are
    the names of the variables outside of functions.
    """

    top: Function
    functions: Mapping[int, Function]
    bodies: Mapping[str, list[tuple[int, int]]]
    variables: frozenset[str]
    pragmas: tuple[Pragma, ...]
    sources: Path
    root: Path

    def nodes(self, *kinds: str) -> Iterator[TreeNode]:
        """Yield the nodes of some kinds of all reached functions."""
        for function in self.functions.values():
            yield from (node for node in function.nodes if node.kind in kinds)

    def place(self, cursor: Cursor) -> SourceLine:
        """Return where a node stands."""
        return _place(cursor, self.root)

    def is_ours(self, cursor: Cursor) -> bool:
        """Return whether a declaration stands in the emitted sources, beside the vendor's types."""
        return _is_ours(cursor, self.sources)

    def is_vendors(self, cursor: Cursor) -> bool:
        """Return whether a declaration stands in the headers of the vendor's types."""
        path = _path(cursor)
        return path is not None and path.is_relative_to(self.sources) and not self.is_ours(cursor)


class ParseError(ToolError):
    """Say what the parser does not accept; ``place`` is None for what lies outside of the project."""

    def __init__(self, place: SourceLine | None, message: str) -> None:
        super().__init__(message)
        self.place = place


def version() -> str:
    """Return the version of libclang."""
    import importlib.metadata

    return importlib.metadata.version("libclang")


def read(root: Path, facts: Mapping[str, Any], scratch: Path) -> SyntaxTree:
    """Return what the top function of the project below ``root`` reaches.

    Raises: ParseError for what is no C++17; ToolError without g++, whose standard headers are read.
    """
    from clang.cindex import Index

    root = real_path(root)
    sources = root / "firmware"
    _, folders = TYPES[facts["backend"]]
    path = sources / f"{facts['top']}.cpp"
    headers = [f'#include "{name}"' for name in PRELUDE[folders[0]]]
    macros = [f"#define {name}" for name in ("__SYNTHESIS__", *MACROS[facts["backend"]])]
    whole = scratch / "whole.cpp"
    whole.write_text("\n".join([*headers, END_OF_HEADERS, *macros, f'#include "firmware/{path.name}"', ""]))
    flags = [STANDARD, *(f"-I{folder}" for folder in (root, sources, *(sources / name for name in folders)))]
    with temporary_files_in(scratch):
        unit = Index.create().parse(str(whole), args=[*flags, *_standard_headers()], options=WITHOUT_BODIES_OF_HEADERS)
    for diagnostic in unit.diagnostics:
        if diagnostic.severity >= diagnostic.Error:
            place = None
            if diagnostic.location.file is not None:
                stated = real_path(diagnostic.location.file.name)
                if stated.is_relative_to(root):
                    place = SourceLine(str(stated.relative_to(root)), diagnostic.location.line)
            raise ParseError(place, diagnostic.spelling)
    ours = [cursor for cursor in unit.cursor.get_children() if _is_ours(cursor, sources)]
    top = next((c for c in ours if c.spelling == facts["top"] and c.is_definition()), None)
    if top is None:
        raise ParseError(
            SourceLine(str(path.relative_to(root)), 1), f"expected the top function {facts['top']}, found none"
        )
    functions = _reached(top, sources, root)
    bodies: dict[str, list[tuple[int, int]]] = {}
    for cursor in _definitions(ours):
        place = _place(cursor, root)
        bodies.setdefault(place.path, []).append((place.line, cursor.extent.end.line))
    variables = frozenset(cursor.spelling for cursor in ours if cursor.kind.name == "VAR_DECL")
    pragmas = _pragmas(whole, flags, root, sources)
    return SyntaxTree(functions[top.hash], functions, bodies, variables, pragmas, sources, root)


@functools.cache
def _standard_headers() -> list[str]:
    """Return the flags by which libclang, which has no headers of its own, reads those of g++."""
    compiler = processes.find("g++")
    said = processes.run([*compiler.command, STANDARD, "-E", "-v", "-x", "c++", "/dev/null"], Path("/"), PREPROCESS_S)
    listed = re.search(r"search starts here:\n((?: .*\n)+)End of search list", said.replace('#include "..." ', ""))
    if listed is None:
        raise ToolError("g++ does not say where its headers are; install a C++ compiler (Debian: g++)")
    return ["-nostdinc", "-nostdinc++", *(f"-isystem{line.strip()}" for line in listed[1].splitlines())]


def _path(cursor: Cursor) -> Path | None:
    return None if cursor.location.file is None else _resolved(cursor.location.file.name)


@functools.lru_cache(4096)
def _resolved(name: str) -> Path:
    return real_path(name)


def _is_ours(cursor: Cursor, sources: Path) -> bool:
    return cursor.location.file is not None and _stands_in_ours(cursor.location.file.name, sources)


@functools.lru_cache(4096)
def _stands_in_ours(name: str, sources: Path) -> bool:
    path = _resolved(name)
    if not path.is_relative_to(sources):
        return False
    folder = path.relative_to(sources).parts[0]
    return folder == OURS or not folder.startswith(("ap_", "ac_"))


def _place(cursor: Cursor, root: Path) -> SourceLine:
    path = _path(cursor)
    if path is None:
        return SourceLine("?", 0)
    name = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    return SourceLine(name, cursor.location.line)


def _reached(top: Cursor, sources: Path, root: Path) -> dict[int, Function]:
    """Return the functions of the sources that the top function calls, it included, by the hash of their definition."""
    functions: dict[int, Function] = {}
    waiting = [top]
    while waiting:
        cursor = waiting.pop()
        if cursor.hash in functions:
            continue
        function = functions[cursor.hash] = Function(cursor, _place(cursor, root), cursor.extent.end.line)
        _fill(function)
        for node in function.nodes:
            for called in _called(node):
                definition = called.get_definition()
                if definition is not None and _is_ours(definition, sources):
                    function.calls.setdefault(definition.hash, node)
                    waiting.append(definition)
    return functions


def _fill(function: Function) -> None:
    waiting = [(child, function.cursor) for child in reversed(list(function.cursor.get_children()))]
    while waiting:
        cursor, parent = waiting.pop()
        function.nodes.append(TreeNode(cursor, parent, function))
        waiting += [(child, cursor) for child in reversed(list(cursor.get_children()))]


def _called(node: TreeNode) -> Iterator[Cursor]:
    """Yield the functions that a node calls or names, and the destructors of a variable's class."""
    if node.kind in ("CALL_EXPR", "DECL_REF_EXPR", "MEMBER_REF_EXPR"):
        called = node.cursor.referenced
        if called is not None and called.kind.name in FUNCTIONS:
            yield called
    elif node.kind == "VAR_DECL":
        declared = node.cursor.type.get_canonical().get_declaration()
        yield from (child for child in declared.get_children() if child.kind.name == "DESTRUCTOR")


def _definitions(cursors: list[Cursor]) -> Iterator[Cursor]:
    """Yield the functions that are defined in namespaces and classes."""
    for cursor in cursors:
        kind = cursor.kind.name
        if kind in (*FUNCTIONS, "FUNCTION_TEMPLATE"):
            yield cursor
        elif kind in SCOPES:
            yield from _definitions(list(cursor.get_children()))


def _pragmas(path: Path, flags: list[str], root: Path, sources: Path) -> tuple[Pragma, ...]:
    """Return the pragmas of the emitted sources that the preprocessor passes on, those of macros included."""
    compiler = processes.find("g++")
    text = processes.run([*compiler.command, "-E", *flags, str(path)], root, PREPROCESS_S)
    pragmas, name, line = [], path, 0
    for row in text.splitlines():
        marker = re.match(r'# (\d+) "(.*?)"', row) if row.startswith("#") else None
        if marker:
            line, name = int(marker[1]), _resolved(marker[2]) if marker[2].startswith("/") else root / marker[2]
            continue
        words = row.strip()
        if words.startswith("#pragma") and name.is_relative_to(sources):
            folder = name.relative_to(sources).parts[0]
            if folder == OURS or not folder.startswith(("ap_", "ac_")):
                pragmas.append(
                    Pragma(SourceLine(str(name.relative_to(root)), line), words.removeprefix("#pragma").strip())
                )
        line += 1
    return tuple(dict.fromkeys(pragmas))
