"""And-inverter graphs: read what Yosys writes, look back in time through registers, and write for ABC.

A literal is twice the number of a variable, plus 1 where it is inverted; 0 and 1 are the constants (AIGER format).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

DEEPEST = 256
"""Most registers in a row from an input to an output."""


class HoldsStateError(Exception):
    """An output depends on a register that depends on itself: it holds state, and no number of clocks is enough."""


class TooLargeError(Exception):
    """A circuit has more AND gates than are tried."""


@dataclass(frozen=True)
class Aig:
    """Hold a sequential circuit: names of the inputs, next states, AND gates by variable, and outputs by name."""

    inputs: Mapping[int, str]
    following: Mapping[int, int]
    ands: Mapping[int, tuple[int, int]]
    outputs: Mapping[str, int]


def read(text: str) -> Aig:
    """Return the circuit of an ASCII AIGER file with symbols; gates with constant inputs are simplified."""
    lines = text.split("\n")
    inputs, registers, outputs, gates = (int(word) for word in lines[0].split()[2:6])
    rows = [[int(word) for word in line.split()] for line in lines[1 : 1 + inputs + registers + outputs + gates]]
    names = {match[1]: match[2] for match in map(re.compile(r"([io]\d+) (.*)").fullmatch, lines) if match}
    simple: dict[int, int] = {0: 0}
    ands: dict[int, tuple[int, int]] = {}

    def literal(value: int) -> int:
        return simple.get(value & ~1, value & ~1) ^ (value & 1)

    for variable, left, right in rows[inputs + registers + outputs :]:
        result = simplified(literal(left), literal(right))
        if isinstance(result, int):
            simple[variable] = result
        else:
            ands[variable] = result
    states = rows[inputs : inputs + registers]
    ends = rows[inputs + registers : inputs + registers + outputs]
    return Aig(
        {row[0]: names[f"i{number}"] for number, row in enumerate(rows[:inputs])},
        {row[0]: literal(row[1]) for row in states},
        ands,
        {names[f"o{number}"]: literal(row[0]) for number, row in enumerate(ends)},
    )


def simplified(left: int, right: int) -> int | tuple[int, int]:
    """Return the literal that the AND of two literals is, or both in order where it is a gate."""
    left, right = sorted((left, right))
    if left == 0 or left == right ^ 1:
        return 0
    return right if left in (1, right) else (left, right)


@dataclass
class Unrolled:
    """Build a circuit without registers, whose inputs are those of a sequential one at a number of clocks before.

    Circuits that are added share inputs and gates.
    """

    most: int
    inputs: dict[tuple[str, int], int] = field(default_factory=dict)
    gates: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, aig: Aig) -> dict[str, int]:
        """Return the literal of each output.

        Raises: HoldsStateError where no number of clocks before is enough, TooLargeError beyond ``most`` gates.
        """
        done: dict[tuple[int, int], int] = {}
        for literal in aig.outputs.values():
            self._add(aig, done, (literal & ~1, 0))
        return {name: done[literal & ~1, 0] ^ (literal & 1) for name, literal in aig.outputs.items()}

    def _add(self, aig: Aig, done: dict[tuple[int, int], int], root: tuple[int, int]) -> None:
        todo = [root]
        while todo:
            variable, clocks = todo[-1]
            if clocks > DEEPEST:
                raise HoldsStateError
            needed = _needed(aig, variable)
            later = clocks + (variable in aig.following)
            missing = [(literal & ~1, later) for literal in needed if (literal & ~1, later) not in done]
            if missing and (variable, clocks) not in done:
                todo += missing
                continue
            todo.pop()
            literals = [done[literal & ~1, later] ^ (literal & 1) for literal in needed]
            done[variable, clocks] = self._literal(aig, variable, clocks, literals)

    def _literal(self, aig: Aig, variable: int, clocks: int, literals: list[int]) -> int:
        if variable in aig.inputs:
            return self.inputs.setdefault((aig.inputs[variable], clocks), self._next())
        if not literals:
            return 0
        result = literals[0] if len(literals) == 1 else simplified(*literals)
        return result if isinstance(result, int) else self.gates.setdefault(result, self._next())

    def _next(self) -> int:
        count = len(self.inputs) + len(self.gates) + 1
        if count > self.most:
            raise TooLargeError
        return 2 * count

    def written(self, outputs: Mapping[str, int]) -> bytes:
        """Return a binary AIGER file of all inputs and gates, with these outputs in the order of their names."""
        number = {0: 0}
        for variable in (*self.inputs.values(), *self.gates.values()):
            number[variable] = 2 * len(number)
        inputs, gates = len(self.inputs), len(self.gates)
        ends = [number[outputs[name] & ~1] ^ (outputs[name] & 1) for name in sorted(outputs)]
        head = [f"aig {inputs + gates} {inputs} 0 {len(ends)} {gates}", *map(str, ends), ""]
        body = bytearray()
        for (left, right), variable in self.gates.items():
            low, high = sorted(number[literal & ~1] ^ (literal & 1) for literal in (left, right))
            body += _encoded(number[variable] - high) + _encoded(high - low)
        return "\n".join(head).encode() + bytes(body)


def _needed(aig: Aig, variable: int) -> tuple[int, ...]:
    """Return the literals that a variable is computed of; of a register, a clock before."""
    if variable in aig.following:
        return (aig.following[variable],)
    return aig.ands.get(variable, ())


def _encoded(value: int) -> bytes:
    """Return a number in seven bits a byte, the low ones first."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])
