"""The C text of the sum of the products with a digit.

In 16 bits a product with a small number is written as additions: the number in canonical signed digits says which
powers of two the sum of its inputs is added to or subtracted from, and the sums of all powers are doubled together,
``s0 + 2 * (s1 + 2 * (s2 + ...))``.
Source: Reitwiesner, Binary arithmetic, Advances in Computers 1 (1960), for the canonical signed digits.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgephys.targets.c.narrow import Digit
from edgephys.targets.c.pairs import Bucket
from edgephys.targets.c.plan import NARROW

MOST_POWERS = 3
"""Powers of two up to which a product is additions: a multiplication takes as long as one or two of them."""

Term = tuple[int, str]
"""(sign, text)."""


def digit_sum(digit: Digit, buckets: Sequence[Bucket], texts: Sequence[str], prefix: str) -> tuple[list[str], str]:
    """Return the lines in front of the sum of the products with a digit, and its text; their names start with prefix.

    ``buckets`` are those of the digit, in which pairs may stand for their members; ``texts`` are inputs, then pairs.
    """
    return _by_powers(buckets, texts, prefix) if digit.ctype == NARROW else ([], _by_numbers(digit, buckets, texts))


def signed_digits(number: int) -> list[tuple[int, int]]:
    """Return (power, sign) of the canonical signed digits of an integer above zero, the lowest power first."""
    digits, power = [], 0
    while number:
        if number & 1:
            sign = 2 - (number & 3)
            digits.append((power, sign))
            number -= sign
        number, power = number >> 1, power + 1
    return digits


def _by_powers(buckets: Sequence[Bucket], texts: Sequence[str], prefix: str) -> tuple[list[str], str]:
    lines: list[str] = []
    powers: dict[int, list[Term]] = {}
    for bucket in buckets:
        members = [(sign, texts[k]) for k, sign in sorted(bucket.signs.items())]
        places = signed_digits(bucket.magnitude)
        if len(members) > 1 and len(places) > 1:
            sign, text = _added(members)
            lines.append(f"const int32_t {prefix}_{bucket.magnitude} = {text};")
            members = [(sign, f"{prefix}_{bucket.magnitude}")]
        if len(places) > MOST_POWERS:
            places, members = [(0, 1)], [(sign, f"{bucket.magnitude} * {text}") for sign, text in members]
        for power, sign in places:
            powers.setdefault(power, []).extend((sign * own, text) for own, text in members)
    if not powers:
        return lines, "0"
    below = max(powers)
    sign, text = _added(powers[below])
    for power in sorted(powers, reverse=True)[1:]:
        higher = f"({text})" if " " in text else text
        sign, text = _added([*powers[power], (sign, f"{1 << (below - power)} * {higher}")])
        below = power
    factor = f"{1 << below} * " if below else ""
    text = f"({text})" if " " in text and (factor or sign < 0) else text
    return lines, f"{'- ' if sign < 0 else ''}{factor}{text}"


def _added(terms: Sequence[Term]) -> Term:
    """Return terms as one, whose text does not start with a minus: the negative of nothing costs an instruction."""
    first = next((at for at, (sign, _) in enumerate(terms) if sign > 0), 0)
    common, text = terms[first]
    rest = [term for at, term in enumerate(terms) if at != first]
    return common, text + "".join(f" {'+' if sign == common else '-'} {other}" for sign, other in rest)


def _by_numbers(digit: Digit, buckets: Sequence[Bucket], texts: Sequence[str]) -> str:
    """Return the sum in 32 or 64 bits, with one multiplication for each magnitude."""
    wide = digit.ctype == "int64_t"
    text = ""
    for bucket in buckets:
        members = sorted(bucket.signs.items())
        first = members[0][1]
        names = [f"(int64_t){texts[k]}" if wide else texts[k] for k, _ in members]
        inner = names[0] + "".join(
            f" {'+' if sign == first else '-'} {name}" for name, (_, sign) in zip(names[1:], members[1:], strict=True)
        )
        number = f"INT64_C({bucket.magnitude})" if wide else str(bucket.magnitude)
        factor = f"{number} * " if bucket.magnitude > 1 else ""
        inner = f"({inner})" if len(members) > 1 and (factor or first < 0) else inner
        text += f" {'+' if first > 0 else '-'} {factor}{inner}"
    return text.removeprefix(" + ").removeprefix(" ") or "0"
