"""Sums of products of words: 32 bits of each event that hold four inputs of 8 bits, or two of 16.

AVX-512 VNNI multiplies the parts of a word with those of a word of weights and adds the products to a lane of 32 bits,
in one instruction for 16 events. The functions are written in this one form, which the scan of a received source takes
out before it looks at the rest (``scan``); a compiler without these instructions does not see them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.targets.c.access import literal

IN_A_VECTOR = 16
"""Lanes of 32 bits."""
SUMS = 16
"""Vectors of sums that are computed together: half of the registers."""


@dataclass(frozen=True)
class Packing:
    """State how many inputs a word holds, their bits, whether they are signed, and the instruction that adds products.

    Weights have as many bits and are signed.
    """

    word: str
    parts: int
    bits: int
    signed: bool
    instruction: str

    @property
    def low(self) -> int:
        """The lowest input."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The highest input."""
        return (1 << (self.bits - int(self.signed))) - 1

    def words(self, weights: Integers) -> Integers:
        """Return weights as words, the first one in the lowest bits. Shape: (..., parts) -> (...), as int32."""
        fields = (weights.astype(np.int64) & ((1 << self.bits) - 1)) << (self.bits * np.arange(self.parts))
        words: Integers = fields.sum(-1).astype(np.uint32).view(np.int32)
        return words


BYTES = Packing("bytes", 4, 8, False, "_mm512_dpbusd_epi32")
HALVES = Packing("halves", 2, 16, True, "_mm512_dpwssd_epi32")
CHOICES = ((BYTES, HALVES), (BYTES,), (HALVES,))
"""Packings that a source can have."""
LANES_OF_WORDS = (32, 64)
"""Events of a block for which there are functions."""
FEATURES = {"avx512f": "-mavx512f", "avx512_vnni": "-mavx512vnni"}
"""Features of a processor that has the instructions, and the options of a compiler that uses them."""


@dataclass
class WordTables:
    """Collect the tables of words of a source file, and the packings that it uses."""

    prefix: str
    text: list[str] = field(default_factory=list)
    used: set[Packing] = field(default_factory=set)
    bytes: int = 0

    def name(self, packing: Packing, words: Integers) -> str:
        """Return the name of the table of these words."""
        self.used.add(packing)
        name = f"{self.prefix}_batch_words_{sum(line.startswith('static') for line in self.text)}"
        numbers = [literal(int(word)) for word in words.reshape(-1)]
        lines = [f"    {', '.join(numbers[i : i + 10])}," for i in range(0, len(numbers), 10)]
        self.text += [f"static const int32_t {name}[{len(numbers)}] = {{", *lines, "};"]
        self.bytes += 4 * len(numbers)
        return name


def together(lanes: int) -> int:
    """Return how many outputs are computed together."""
    return SUMS * IN_A_VECTOR // lanes


def guard(prefix: str) -> str:
    """Return the macro that is defined where the compiler has the instructions."""
    return f"{prefix.upper()}_WORDS"


def function_name(prefix: str, packing: Packing) -> str:
    """Return the name of the function of a packing."""
    return f"{prefix}_batch_{packing.word}"


def flags(features: Collection[str]) -> tuple[str, ...]:
    """Return the options with which a compiler uses the instructions; none where a processor lacks a feature."""
    return tuple(FEATURES.values()) if all(name in features for name in FEATURES) else ()


def functions(prefix: str, lanes: int, packings: Iterable[Packing]) -> str:
    """Return the text of the header and the functions of packings, without a comment: it is taken out as a whole."""
    lines = [
        "#if defined(__AVX512F__) && defined(__AVX512VNNI__)",
        "#include <immintrin.h>",
        f"#define {guard(prefix)}",
    ]
    for packing in packings:
        lines += _function(function_name(prefix, packing), lanes, packing.instruction)
    return "\n".join([*lines, "#endif", ""])


def _function(name: str, lanes: int, instruction: str) -> list[str]:
    vectors, outputs = lanes // IN_A_VECTOR, together(lanes)
    places = [(n, v) for n in range(outputs) for v in range(vectors)]
    return [
        f"static void {name}(int32_t *restrict sums, const uint32_t *restrict words,",
        "    const int32_t *restrict weights, int count)",
        "{",
        *(f"    __m512i s{n}_{v} = _mm512_setzero_si512();" for n, v in places),
        "    for (int k = 0; k < count; k++) {",
        *(
            f"        const __m512i x{v} = _mm512_loadu_si512(words + {lanes} * k + {IN_A_VECTOR * v});"
            for v in range(vectors)
        ),
        *(f"        const __m512i w{n} = _mm512_set1_epi32(weights[{outputs} * k + {n}]);" for n in range(outputs)),
        *(f"        s{n}_{v} = {instruction}(s{n}_{v}, x{v}, w{n});" for n, v in places),
        "    }",
        *(f"    _mm512_storeu_si512(sums + {lanes * n + IN_A_VECTOR * v}, s{n}_{v});" for n, v in places),
        "}",
    ]
