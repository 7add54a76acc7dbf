"""The pragmas of Vitis HLS and Catapult: their names, their words, and where each may stand.

Source: AMD, Vitis High-Level Synthesis User Guide (UG1399), "HLS Pragmas" and its page of each pragma; for the scopes
also "Applying Directives to the Proper Scope". Catapult's are those that hls4ml and the HLSLibs use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgephys.targets.hls.libclang import Cursor
from edgephys.targets.hls.syntax import Function, Pragma, SyntaxTree

FUNCTION, LOOP, REGION, BRANCH = "the body of a function", "the body of a loop", "a block", "a branch"
TOP, BEFORE_LOOP, BEFORE_FUNCTION = "the body of the top function", "before a loop", "before a function"
ANYWHERE = (FUNCTION, LOOP, REGION, BRANCH)
BLOCKS = {"FOR_STMT": LOOP, "WHILE_STMT": LOOP, "DO_STMT": LOOP, "CXX_FOR_RANGE_STMT": LOOP, "IF_STMT": BRANCH}
PLAIN = frozenset({"once", "GCC", "clang", "STDC"})
"""First words of pragmas that are for compilers, not for synthesis."""
VITIS = "HLS"


@dataclass(frozen=True)
class KnownPragma:
    """State where a pragma may stand, its words, and those among them that name variables in scope."""

    places: tuple[str, ...]
    words: frozenset[str] = frozenset()
    variables: tuple[str, ...] = ()


def _known(places: tuple[str, ...] | str, words: str = "", variables: str = "") -> KnownPragma:
    named = tuple(variables.split())
    return KnownPragma((places,) if isinstance(places, str) else places, frozenset([*words.split(), *named]), named)


KNOWN = {
    "AGGREGATE": _known(ANYWHERE, "compact", "variable"),
    "ALIAS": _known(FUNCTION, "distance offset", "ports"),
    "ALLOCATION": _known(ANYWHERE, "instances limit type operation function core"),
    "ARRAY_PARTITION": _known(ANYWHERE, "type factor dim off complete block cyclic", "variable"),
    "ARRAY_RESHAPE": _known(ANYWHERE, "type factor dim object off complete block cyclic", "variable"),
    "ARRAY_STENCIL": _known(ANYWHERE, "off", "variable"),
    "BIND_OP": _known(ANYWHERE, "op impl latency", "variable"),
    "BIND_STORAGE": _known(ANYWHERE, "type impl latency", "variable"),
    "CACHE": _known(FUNCTION, "lines depth ways users burst write_mode", "port"),
    "DATAFLOW": _known((FUNCTION, LOOP), "disable_start_propagation"),
    "DEPENDENCE": _known(
        *((FUNCTION, LOOP), "class type direction distance dependent true false array pointer inter intra RAW WAR WAW"),
        "variable",
    ),
    "DISAGGREGATE": _known(ANYWHERE, "", "variable"),
    "EXPRESSION_BALANCE": _known(ANYWHERE, "off"),
    "FUNCTION_INSTANTIATE": _known(FUNCTION, "", "variable"),
    "INLINE": _known(FUNCTION, "recursive off region"),
    "INTERFACE": _known(
        TOP,
        "mode bundle register register_mode depth offset clock name latency max_read_burst_length direct_io "
        "max_write_burst_length num_read_outstanding num_write_outstanding storage_type storage_impl interrupt "
        "ap_none ap_stable ap_vld ap_ack ap_hs ap_ovld ap_fifo ap_memory bram axis s_axilite m_axi ap_ctrl_none "
        "ap_ctrl_hs ap_ctrl_chain both off",
        "port",
    ),
    "LATENCY": _known(ANYWHERE, "min max"),
    "LOOP_FLATTEN": _known(LOOP, "off"),
    "LOOP_MERGE": _known(ANYWHERE, "force"),
    "LOOP_TRIPCOUNT": _known(LOOP, "min max avg"),
    "OCCURRENCE": _known((BRANCH, REGION), "cycle off"),
    "PERFORMANCE": _known((FUNCTION, LOOP), "target_ti target_tl unit assume_ti assume_tl scope"),
    "PIPELINE": _known((FUNCTION, LOOP), "II rewind off style enable_flush"),
    "PROTOCOL": _known((FUNCTION, REGION), "mode floating fixed"),
    "RESET": _known(ANYWHERE, "off", "variable"),
    "STABLE": _known(FUNCTION, "", "variable"),
    "STREAM": _known(ANYWHERE, "type depth dim off", "variable"),
    "TOP": _known(TOP, "name"),
    "UNROLL": _known(LOOP, "factor off off=true skip_exit_check"),
    "hls_design": _known(BEFORE_FUNCTION, "top block ccore inline interface"),
    "hls_pipeline_init_interval": _known((BEFORE_LOOP, BEFORE_FUNCTION), "number"),
    "hls_preserve_loop": _known(BEFORE_LOOP, "yes no"),
    "hls_unroll": _known(BEFORE_LOOP, "yes no number"),
    "hls_waive": _known((BEFORE_LOOP, BEFORE_FUNCTION, *ANYWHERE), "any"),
}
"""Pragmas by name: the first word after HLS for Vitis, which ignores its case, or the first word for Catapult."""

VIVADO = {
    "DATA_PACK": _known(ANYWHERE, "instance struct_level field_level", "variable"),
    "PIPELINE": _known((FUNCTION, LOOP, BRANCH), "II rewind off enable_flush"),
    "RESOURCE": _known(ANYWHERE, "core latency metadata", "variable"),
}
"""Where Vivado HLS differs (AMD UG902); hls4ml pipelines a loop for it from within a branch on a constant."""

UNKNOWN, PLACE, VARIABLE, INTERFACE = "unknown-pragma", "pragma-place", "pragma-variable", "interface"


@dataclass(frozen=True)
class Wrong:
    """State a pragma, or a parameter of the top function, that breaks a rule."""

    path: str
    line: int
    rule: str
    detail: str


@dataclass(frozen=True)
class _Block:
    """State a block of a function: its lines, what it belongs to, and the variables that are declared in it."""

    first: int
    last: int
    owner: str
    variables: tuple[tuple[str, int], ...]


def broken(program: SyntaxTree, backend: str) -> Iterator[Wrong]:
    """Yield the pragmas that are unknown or misplaced, and the interfaces that the top function does not declare."""
    known = KNOWN | (VIVADO if backend == "Vivado" else {})
    for pragma in program.pragmas:
        yield from _checked(program, pragma, known)
    yield from _interfaces(program, backend)


def _checked(program: SyntaxTree, pragma: Pragma, table: Mapping[str, KnownPragma]) -> Iterator[Wrong]:
    place = pragma.place
    around = [f for f in program.functions.values() if f.place.path == place.path and _within(f, place.line)]
    bodies = program.bodies.get(place.path, [])
    if not around and any(first <= place.line <= last for first, last in bodies):
        return  # in a function that the top function does not reach
    name, words = _parsed(pragma.text)
    if name is None:
        return
    known = table.get(name)
    if known is None:
        yield Wrong(place.path, place.line, UNKNOWN, f"#pragma {pragma.text}: no pragma of Vitis HLS or Catapult")
        return
    strange = [word for word in words if not _is_word(word, known)]
    if strange:
        yield Wrong(place.path, place.line, UNKNOWN, f"#pragma {pragma.text}: {name} has no option '{strange[0]}'")
    function = around[0] if around else None
    blocks = [] if function is None else _blocks(function, place.line)
    stands = _stands(program, pragma, function, blocks)
    if not set(known.places) & stands:
        where = " or ".join(known.places)
        yield Wrong(place.path, place.line, PLACE, f"#pragma {pragma.text}: {name} may only stand in {where}")
    elif function is not None and (variables := list(_variables(words, known))):
        visible = _visible(program, function, blocks, place.line)
        for variable in variables:
            if variable not in visible:
                yield Wrong(
                    place.path, place.line, VARIABLE, f"#pragma {pragma.text}: no variable {variable} is in scope"
                )


def _within(function: Function, line: int) -> bool:
    return function.place.line <= line <= function.last


def _parsed(text: str) -> tuple[str | None, list[str]]:
    """Return the name of a pragma and its words; no name for one that is not for synthesis."""
    words = re.sub(r"\s*([=*/%+,])\s*", r"\1", text).split()
    if not words or words[0] in PLAIN:
        return None, []
    if words[0].upper() == VITIS:
        rest = words[1:] or [""]
        if rest[0].lower().startswith("if("):
            rest = rest[1:] or [""]
        return rest[0].upper(), rest[1:]
    return words[0], words[1:]


def _is_word(word: str, known: KnownPragma) -> bool:
    key = word.split("=")[0].lower()
    allowed = {name.lower() for name in known.words}
    return key in allowed or "any" in allowed or ("number" in allowed and key.isdigit())


def _variables(words: list[str], known: KnownPragma) -> Iterator[str]:
    for word in words:
        key, _, value = word.partition("=")
        if key.lower() in known.variables:
            yield from (
                re.split(r"\.|\[|->", name)[0]
                for name in value.split(",")
                if name not in ("", "return") and "::" not in name
            )


def _stands(program: SyntaxTree, pragma: Pragma, function: Function | None, blocks: list[_Block]) -> set[str]:
    """Return what the place of a pragma is, in the words of the table."""
    stands = set()
    if function is not None and blocks:
        stands.add(blocks[-1].owner)
        if blocks[-1].owner == FUNCTION and function is program.top:
            stands.add(TOP)
        after = [n for n in function.nodes if n.cursor.location.line > pragma.place.line and n.kind != "COMPOUND_STMT"]
        following = min((node.cursor.extent.start.line for node in after), default=0)
        if any(
            node.kind in BLOCKS and BLOCKS[node.kind] == LOOP and node.cursor.extent.start.line == following
            for node in after
        ):
            stands.add(BEFORE_LOOP)
    elif function is None and _before_function(program, pragma):
        stands.add(BEFORE_FUNCTION)
    return stands


def _before_function(program: SyntaxTree, pragma: Pragma) -> bool:
    """Return whether nothing but comments and pragmas stands between a pragma and the next function."""
    firsts = [first for first, _ in program.bodies.get(pragma.place.path, ()) if first > pragma.place.line]
    if not firsts:
        return False
    lines = Path(program.root / pragma.place.path).read_text().splitlines()[pragma.place.line : min(firsts) - 1]
    return all(re.match(r"\s*(//|#|template|$)", line) for line in lines)


def _blocks(function: Function, line: int) -> list[_Block]:
    """Return the blocks around a line of a function, the outermost first."""
    blocks = []
    for node in function.nodes:
        if node.kind != "COMPOUND_STMT":
            continue
        first, last = node.cursor.extent.start.line, node.cursor.extent.end.line
        if first <= line <= last:
            parent = node.parent
            owner = FUNCTION if parent == function.cursor else BLOCKS.get(parent.kind.name, REGION)
            blocks.append(_Block(first, last, owner, tuple(_declared(node.cursor, parent))))
    return sorted(blocks, key=lambda block: (block.first, -block.last))


def _declared(block: Cursor, parent: Cursor) -> Iterator[tuple[str, int]]:
    for statement in [*block.get_children(), *parent.get_children()]:
        if statement.kind.name == "DECL_STMT":
            yield from ((child.spelling, child.location.line) for child in statement.get_children())


def _visible(program: SyntaxTree, function: Function, blocks: list[_Block], line: int) -> set[str]:
    names = {argument.spelling for argument in function.cursor.get_arguments()} | program.variables
    parent = function.cursor.semantic_parent
    if parent is not None:
        names |= {child.spelling for child in parent.get_children() if child.kind.name in ("FIELD_DECL", "VAR_DECL")}
    return names | {name for block in blocks for name, declared in block.variables if declared <= line}


def _interfaces(program: SyntaxTree, backend: str) -> Iterator[Wrong]:
    """Yield the parameters of the top function without an interface, or a top that Catapult is not told of."""
    top = program.top
    near = [pragma for pragma in program.pragmas if pragma.place.path == top.place.path]
    parsed = [(pragma, *_parsed(pragma.text)) for pragma in near]
    if backend == "Catapult":
        if not any(name == "hls_design" and "top" in words for _, name, words in parsed):
            yield Wrong(
                top.place.path, top.place.line, INTERFACE, f"no #pragma hls_design top stands before {top.name}"
            )
        return
    declared = {
        variable
        for pragma, name, words in parsed
        if name == "INTERFACE" and _within(top, pragma.place.line)
        for variable in _variables(words, KNOWN[name])
    }
    for argument in top.cursor.get_arguments():
        if argument.spelling not in declared:
            detail = f"the parameter {argument.spelling} of {top.name} has no #pragma HLS INTERFACE"
            yield Wrong(top.place.path, argument.location.line, INTERFACE, detail)
