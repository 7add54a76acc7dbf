"""The roll-out in C: PREFIX_rollout.c, which feeds the output of a network back to its input, step after step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from edgephys import __version__
from edgephys.graph.feedback import feedback
from edgephys.graph.graph import Graph
from edgephys.targets.c.loops import indented


@dataclass(frozen=True)
class RolloutFiles:
    """Hold the text of the source, the lines that declare it in the header, and its facts for the manifest."""

    source: str
    declaration: list[str]
    facts: Mapping[str, Any]


def write(graph: Graph, prefix: str, state: int, single: tuple[int, int], output_bytes: int) -> RolloutFiles:
    """Return the roll-out of a graph whose first ``state`` input channels hold the state.

    ``single`` are size and alignment of the arena of one evaluation, behind which the output lies, and ``output_bytes``
    is the size of one of its numbers.  Raises: as ``feedback``.
    """
    of, upper = feedback(graph, state), prefix.upper()
    offset = -(-single[0] // output_bytes) * output_bytes
    arena, alignment = offset + output_bytes * prod(graph.output.shape), max(single[1], output_bytes)
    pixel = [f"state[{of.channels} * pixel + channel + {state - of.frame}] = ({prefix}_input_t)"]
    pixel[0] += f"output[{of.frame} * pixel + channel];"
    pixel = [f"for (size_t channel = 0; channel < {of.frame}; channel++)", *indented(pixel)]
    if of.frames > 1:
        older = f"state[{of.channels} * pixel + channel] = state[{of.channels} * pixel + channel + {of.frame}];"
        older_frames = f"for (size_t channel = 0; channel < {state - of.frame}; channel++)"
        pixel = [older_frames, *indented([older]), *pixel]
    step = [
        f"{prefix}_run(state, output, arena);",
        f"for (size_t pixel = 0; pixel < {prod(graph.input.shape[:-1])}; pixel++) {{",
        *indented(pixel),
        "}",
    ]
    lines = [
        f"{prefix}_output_t *const output = ({prefix}_output_t *)(void *)((unsigned char *)arena + {offset});",
        "for (size_t step = 0; step < steps; step++) {",
        *indented(step),
        "}",
    ]
    opening = [f"/* Emitted by edgephys {__version__}: see {prefix}.h. */", "", f'#include "{prefix}.h"', ""]
    source = [*opening, _head(prefix), "{", *indented(lines), "}"]
    declaration = [
        "",
        f"/* {prefix}_rollout.c: `steps` steps, 0 is allowed. `state` is an input; in each step the output takes the",
        f" * place of the newest of its first {state} channels, older ones shift, and the other channels stay. The",
        " * arena is one of its own. */",
        f"#define {upper}_ROLLOUT_ARENA_BYTES {arena}",
        f"#define {upper}_ROLLOUT_ARENA_ALIGNMENT {alignment}",
        f"{_head(prefix)};",
    ]
    facts = {"state": state, "arena_bytes": arena, "arena_alignment": alignment}
    return RolloutFiles("\n".join(source) + "\n", declaration, facts)


def _head(prefix: str) -> str:
    return f"void {prefix}_rollout({prefix}_input_t *state, size_t steps, void *arena)"
