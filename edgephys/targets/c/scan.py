"""Scan the sources of a C project for what we do not emit: they may compute, and call nothing from outside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgephys.core.errors import ProjectError
from edgephys.core.names import require_count, require_identifier
from edgephys.targets.c.words import CHOICES, LANES_OF_WORDS, function_name, functions, guard
from edgephys.targets.emit_again import emit_again
from edgephys.targets.source_scan import Scanned, Token, c_tokens, facts_are_ours

KEYWORDS = frozenset(["for", "if", "while", "switch", "return", "sizeof"])
"""Words that may stand before a parenthesis, beside the functions that the source defines."""
WIDE_NUMBER = "INT64_C"
"""Macro of stdint.h that makes a number of 64 bits."""
TYPES = frozenset(
    [
        "void",
        "char",
        "short",
        "int",
        "long",
        "unsigned",
        "signed",
        "const",
        "size_t",
        "restrict",
        "struct",
        "int8_t",
        "int16_t",
        "int32_t",
        "int64_t",
        "uint8_t",
        "uint16_t",
        "uint32_t",
        "uint64_t",
    ]
)
"""Words of a cast."""
ENTRIES = ("run", "run_batch", "rollout", "note", "batch_note")
"""What a source or its header declares: the entry points, and what records a layer's integers."""
REFUSED = frozenset(
    [
        "asm",
        "extern",
        "typeof",
        "goto",
        "volatile",
        "register",
        "inline",
        "union",
        "enum",
        "setjmp",
        "longjmp",
        "alloca",
        "main",
        "environ",
        "auto",
        "float",
        "double",
        "complex",
    ]
)


def scan(folder: Path, facts: Mapping[str, Any]) -> None:
    """Raise ProjectError for facts or sources of a C project that could do more than compute."""
    prefix = _prefix(folder, facts)
    names = {f"{prefix}.h", f"{prefix}.c", f"{prefix}.hpp"}
    names |= {f"{prefix}_{entry}.c" for entry in ("batch", "rollout") if entry in facts}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name not in names:  # it would stand before the compiler's own headers
            raise ProjectError(
                f"{folder}: {path.name} is no file that we emit; remove it, or {emit_again(folder, 'c')}"
            )
    directives = _directives(prefix)
    present = [folder / name for name in sorted(names - {f"{prefix}.hpp"}) if (folder / name).exists()]
    lanes = facts["batch"]["lanes"] if "batch" in facts else 0
    sources = {path: _tokens(Scanned(folder, path), prefix, lanes, directives) for path in present}
    defined = {name for source in sources.values() for name in _defined(source)}
    called = {
        *KEYWORDS,
        WIDE_NUMBER,
        *defined,
        f"{prefix.upper()}_NOTE",
        f"{prefix.upper()}_BATCH_NOTE",
        *(f"{prefix}_{name}" for name in ENTRIES),
    }
    for path, source in sources.items():
        _scan_tokens(Scanned(folder, path), source, prefix, called)


def _tokens(scanned: Scanned, prefix: str, lanes: int, directives: Sequence[re.Pattern[str]]) -> list[Token]:
    """Return the tokens of a source without its functions for products of words, which are ours to the last letter."""

    def known(text: str) -> str:
        if scanned.path.name != f"{prefix}_batch.c" or lanes not in LANES_OF_WORDS:
            return text
        for packings in CHOICES:
            own = functions(prefix, lanes, packings)
            if f"\n{own}" in text:
                heads = " ".join(f"static void {function_name(prefix, packing)}();" for packing in packings)
                return text.replace(f"\n{own}", "\n" + heads + "\n" * own.count("\n"), 1)
        return text

    return c_tokens(scanned, directives, re.compile("C"), known)


def _prefix(folder: Path, facts: Mapping[str, Any]) -> str:
    """Return the prefix; raise ProjectError for facts that would reach the compiler as something else."""
    with facts_are_ours(folder):
        prefix = require_identifier("facts: prefix", facts["prefix"])
        require_count("facts: arena_bytes", facts["arena_bytes"])
        for name in ("lanes", "arena_bytes", "arena_alignment") if "batch" in facts else ():
            require_count(f"facts: batch: {name}", facts["batch"][name])
        for name in ("state", "arena_bytes", "arena_alignment") if "rollout" in facts else ():
            require_count(f"facts: rollout: {name}", facts["rollout"][name])
        for port in ("input", "output"):
            for length in facts[port]["shape"]:
                require_count(f"facts: {port}: shape", length)
        for probe in facts["probes"]:
            for length in (*probe["shape"], probe["at"]):
                require_count("facts: probes", length)
    return prefix


def _directives(prefix: str) -> list[re.Pattern[str]]:
    """Return what a directive of ours may be: no other header, no macro that stands for a word of its own."""
    upper, number = prefix.upper(), r"\(?-?\d+\)?"
    macros = rf"(((BATCH|ROLLOUT)_)?ARENA_\w+|BATCH_LANES|INPUTS?_?\w*|OUTPUTS?_?\w*) {number}"
    at = r"\(size_t\)\(at\), \(int64_t\)\(value\)\)"
    note = rf"NOTE\(at, value\) (\(\(void\)0\)|{prefix}_note\({at})"
    lane = rf"BATCH_NOTE\(at, value\) (\(\(void\)0\)|{prefix}_batch_note\(\(size_t\)\(l\), {at})"
    return [
        re.compile(pattern)
        for pattern in (
            rf'#include (<stdint\.h>|<stddef\.h>|"{prefix}\.h")',
            rf"#(ifdef|ifndef) ({upper}_PROBE|{upper}_H|{guard(prefix)}|__cplusplus)",
            r"#(else|endif)",
            rf"#define {upper}_H",
            rf'#define {upper}_GRAPH "[0-9a-f]{{64}}"',
            rf"#define {upper}_{macros}",
            rf"#define {upper}_{note}",
            rf"#define {upper}_{lane}",
        )
    ]


def _defined(source: Sequence[Token]) -> set[str]:
    """Return the names of the functions that a source defines: static void NAME(...)."""
    words = [token.text for token in source]
    return {words[at + 2] for at in range(len(words) - 3) if words[at : at + 2] == ["static", "void"]}


def _scan_tokens(scanned: Scanned, source: Sequence[Token], prefix: str, called: set[str]) -> None:
    for at, token in enumerate(source):
        after = source[at + 1].text if at + 1 < len(source) else ""
        if token.kind == "word":
            _scan_word(scanned, source, at, after, called)
        elif token.kind == "text" and [t.text for t in source[max(0, at - 1) : at]] != ["extern"]:
            raise scanned.refuse(token.line, f"the text {token.text}")
        elif token.text == "(" and after == "*":
            raise scanned.refuse(token.line, "a pointer to a function")
        elif token.text == "[" and after == "[":
            raise scanned.refuse(token.line, "an attribute")
        elif token.text == "]" and after == "(":
            raise scanned.refuse(token.line, "a call of an element")
        elif token.text == ")" and after == "(" and not _is_cast(source, at, prefix):
            raise scanned.refuse(token.line, "a call of an expression")


def _scan_word(scanned: Scanned, source: Sequence[Token], at: int, after: str, called: set[str]) -> None:
    token = source[at]
    opening = after == '"C"' and token.text == "extern"
    if (token.text in REFUSED and not opening) or re.match(r"_(_|[A-Z])", token.text):
        raise scanned.refuse(token.line, f"the word '{token.text}'")
    if token.text == "typedef" and (len(source) < at + 4 or source[at + 3].text not in (";", "[")):
        raise scanned.refuse(token.line, "a typedef of more than a number")
    if after == "(" and token.text not in called:
        raise scanned.refuse(token.line, f"a call or declaration of '{token.text}'")


def _is_cast(source: Sequence[Token], at: int, prefix: str) -> bool:
    """Tell whether the parenthesis that ends at ``at`` holds a type, or is the head of a statement or of ``sizeof``."""
    depth, start = 0, at
    while start >= 0:
        depth += (source[start].text == ")") - (source[start].text == "(")
        if not depth:
            break
        start -= 1
    inside = [token.text for token in source[start + 1 : at]]
    if start and source[start - 1].text in KEYWORDS:
        return True
    types = {*TYPES, f"{prefix}_input_t", f"{prefix}_output_t", "*"}
    return bool(inside) and set(inside) <= types
