"""From a model to a bitstream: emit, synthesise, route with the board's pins, pack, and simulate what was routed.

Where a design does not fit, or misses the board's clock, the next try has twice the interval; one that misses the clock
gets shorter stages, too.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgephys import project
from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ProjectError, ToolError, UsageError, UselessIntervalError
from edgephys.core.files import check_free, replace_folder
from edgephys.core.names import own_file
from edgephys.core.reading import sha256
from edgephys.graph import evaluate
from edgephys.models.model import Model
from edgephys.targets.capacity import capacity_of
from edgephys.targets.rtl.board import bitstream
from edgephys.targets.rtl.board.bitstream import BoardBuild
from edgephys.targets.rtl.board.board import BAUD, SPI, SPI_CLOCKS, UART, FpgaBoard
from edgephys.targets.rtl.board.toolchain import toolchain_of
from edgephys.targets.rtl.board.top import BoardTop
from edgephys.targets.rtl.options import LONGEST_II, RtlOptions
from edgephys.targets.rtl.place import NoRoomError

Say = Callable[[str], None]
RESULT = "board"
"""Result of a project with its bitstream, and the folder in it that holds the board's files."""
HASTE = 0.9
"""Part of the stage that would just meet the clock, after one that missed it."""
FURTHER = 16
"""Times the interval of the fewest LUTs so far, up to which longer ones are tried."""
VECTORS = 128


@dataclass(frozen=True)
class BoardPlan:
    """State what is built: the board, the first interval that is tried, the shell and the bits a second on it.

    Units: stage_ns of the longest path of a stage in the first try, by the estimate; None takes that of the part.
    """

    board: FpgaBoard
    ii: int = 1
    baud: int = BAUD
    vectors: int = VECTORS
    seed: int = 1
    timeout_s: float = 3000.0
    shell: str = UART
    stage_ns: float | None = None

    def __post_init__(self) -> None:
        self.board.clocks_per_bit(self.baud)
        self.board.pins_of(self.shell)
        if not 1 <= self.ii <= LONGEST_II:
            raise UsageError(f"ii must be 1..{LONGEST_II} clocks, not {self.ii}")

    def options(self, ii: int, stage_ns: float | None) -> RtlOptions:
        """Return the options of the network's emission."""
        clock_ns = self.board.clock_ns
        return RtlOptions(ii=ii, handshake=True, part=self.board.part, clock_ns=clock_ns, cutoff_ns=stage_ns)


@dataclass(frozen=True)
class Tried:
    """State an interval that was tried: its LUTs, its clock where it was routed, and in words why it is not the one."""

    ii: int
    lut: float
    fmax_mhz: float | None
    why: str


def build(model: Model, plan: BoardPlan, out: Path, force: bool, say: Say) -> dict[str, Any]:
    """Write a project with a bitstream, replacing a former one in one step, and return the record of the bitstream.

    Raises: UsageError for an interval or a baud that cannot be; ToolError where no interval fits the board or meets its
    clock, or a tool fails; MismatchError where the routed design computes other integers than the golden model.
    """
    from edgephys.targets.rtl.stream import is_field

    check_free(out, project.MANIFEST, force, "a project")
    chain = toolchain_of(plan.board)
    for name in ("verilator", "yosys", chain.nextpnr, chain.packer):
        tools.find(name)
    if is_field(model.graph):
        raise UsageError(
            f"'{model.name}' reads neighbouring pixels and is streamed, a pixel a clock; a board takes whole inputs: "
            f"choose a network without convolutions"
        )
    if plan.vectors > len(model.held_out.inputs):
        raise UsageError(
            f"vectors must be 1..{len(model.held_out.inputs)} (what the model carries), not {plan.vectors}"
        )
    records = []

    def write(folder: Path) -> None:
        records.append(_written(model, plan, folder, say))

    replace_folder(out, write, project.MANIFEST, force, "a project")
    return records[0]


def _written(model: Model, plan: BoardPlan, folder: Path, say: Say) -> dict[str, Any]:
    start = time.monotonic()
    emitted, top, routed = _closed(model, plan, folder, say)
    bit = Path(shutil.copyfile(routed.bitstream, folder / RESULT / f"{plan.board.name}{routed.bitstream.suffix}"))
    (folder / RESULT / "README.md").write_text(_readme(model, plan, top, bit))
    say(f"simulation of the routed design: line, shell and network, {plan.vectors} vectors")
    vectors, mismatches = _simulated(model, plan, top, routed)
    record = {
        "model": model.name,
        "board": plan.board.name,
        "shell": plan.shell,
        "ii": int(top.facts["ii"]),
        "clock_mhz": plan.board.clock_mhz,
        "clock_mhz_routed": routed.fmax_mhz,
        "latency_cycles": int(top.facts["latency"]),
        "stage_ns": float(top.facts["cutoff_ns"]),
        "lut_estimate": float(top.facts["lut_estimate"]),
        **{name: getattr(routed.cells, name) for name in ("lut", "ff", "dsp", "bram")},
        "available": {name: getattr(routed.available, name) for name in ("lut", "ff", "dsp", "bram")},
        "baud": plan.baud,
        "bitstream": str(bit.relative_to(folder)),
        "bitstream_bytes": bit.stat().st_size,
        "sha256": sha256(bit).hex(),
        "vectors": vectors,
        "mismatches": mismatches,
        "seed": plan.seed,
        "tools": routed.tools,
        "seconds": time.monotonic() - start,
    }
    if mismatches:
        raise MismatchError(
            f"board {plan.board.name}: {mismatches} outputs of {vectors} vectors differ between the routed design and "
            f"the golden model; nothing is written; report it"
        )
    project.write_result(emitted, RESULT, record, emitted.state())
    return record


def bitstream_of(opened: project.Project) -> dict[str, Any]:
    """Return the record of a project's bitstream.

    Raises: ProjectError for a project without one, or one whose sources or bitstream were changed since.
    """
    record = project.read_result(opened, RESULT)
    if record is None:
        raise ProjectError(f"{opened.folder}: expected a project with a bitstream; `edgephys board MODEL` makes one")
    try:
        digest = sha256(own_file(opened.folder, record["bitstream"])).hex()
    except (OSError, ValueError) as error:
        raise ProjectError(
            f"{opened.folder}: its bitstream is missing; build it again with `edgephys board`"
        ) from error
    if digest != record["sha256"]:
        raise ProjectError(f"{opened.folder}: its bitstream was changed; build it again with `edgephys board`")
    return record


# The interval --------------------------------------------------------------------------------------


def _closed(model: Model, plan: BoardPlan, folder: Path, say: Say) -> tuple[project.Project, BoardTop, BoardBuild]:
    """Return the first design that fits the board and meets its clock; its project is in ``folder``."""
    tried: list[Tried] = []
    stage_ns = plan.stage_ns
    refusal = ""
    for ii in _intervals(plan, tried):
        options = plan.options(ii, stage_ns)
        try:
            _require_room(model, options, plan.board)
            emitted = project.emit(model, options, folder)
            top = BoardTop(plan.board, emitted.facts, plan.baud, plan.shell)
            say(f"{plan.board.name}, an input every {ii} clocks: Yosys, nextpnr, {toolchain_of(plan.board).packer}")
            sources = [*top.write(folder / RESULT), *(emitted.firmware / name for name in emitted.facts["sources"])]
            constraints = folder / RESULT / top.pins_file
            routed = bitstream.build(sources, constraints, plan.board, plan.seed, plan.timeout_s)
        except NoRoomError as error:
            tried.append(Tried(ii, error.luts, None, f"it needs {error.needs}"))
        except ToolError as error:
            longer = f", or start with --ii {2 * ii}" if "was stopped after" in str(error) else ""
            raise ToolError(f"{plan.board.name}, ii {ii}: {error}{longer}") from error
        except UselessIntervalError as error:
            refusal = f"; others are refused: {error}"
            continue
        else:
            if routed.fmax_mhz >= plan.board.clock_mhz:
                return emitted, top, routed
            tried.append(Tried(ii, routed.cells.lut, routed.fmax_mhz, f"{routed.fmax_mhz:.1f} MHz after routing"))
            stage_ns = options.stage_ns * HASTE * routed.fmax_mhz / plan.board.clock_mhz
        say(f"ii {ii}: {tried[-1].why}")
    raise _none(model, plan, tried, refusal)


def _intervals(plan: BoardPlan, tried: list[Tried]) -> Iterator[int]:
    """Yield the first interval and powers of two above it, as long as ``tried`` gives reason to go on."""
    ii = plan.ii
    while ii <= LONGEST_II and ii <= FURTHER * min(tried, key=lambda one: one.lut, default=Tried(ii, 0, None, "")).ii:
        yield ii
        ii = 1 << ii.bit_length()


def _require_room(model: Model, options: RtlOptions, board: FpgaBoard) -> None:
    """Raise NoRoomError where already the estimate, in LUTs of 6 inputs, is more than the part's LUTs of 4."""
    from edgephys.targets.rtl.emit import estimate

    room = capacity_of(board.part)
    lut = estimate(model.graph, options).lut
    if room is not None and lut > room.lut:
        needs = f"some {lut:,.0f} LUTs by the estimate, of {room.lut:,}"
        raise NoRoomError(f"'{model.name}' does not fit {board.name}", needs, round(lut))


def _none(model: Model, plan: BoardPlan, tried: list[Tried], refusal: str) -> Exception:
    """Return the error of a model for which no interval works."""
    board, timed = plan.board, [one for one in tried if one.fmax_mhz is not None]
    if timed:
        best = max(timed, key=lambda one: one.fmax_mhz or 0)
        return ToolError(
            f"'{model.name}' misses the {board.clock_mhz:g} MHz of {board.name} at ii "
            f"{', '.join(str(one.ii) for one in timed)}; the best is {best.fmax_mhz:.1f} MHz at ii {best.ii}; use a "
            f"board with a slower clock or a smaller model"
        )
    if not tried:
        return UsageError(f"'{model.name}': no interval from {plan.ii} on works{refusal}")
    least = min(tried, key=lambda one: one.lut)
    return ToolError(
        f"'{model.name}' does not fit {board.name} at any interval from {plan.ii} to {tried[-1].ii}: at ii "
        f"{least.ii}, with the fewest LUTs, {least.why}; use a larger board or a smaller model{refusal}"
    )


# The proof -----------------------------------------------------------------------------------------


def _simulated(model: Model, plan: BoardPlan, top: BoardTop, routed: BoardBuild) -> tuple[int, int]:
    """Return how many held-out vectors went through the routed design, and how many outputs differ."""
    from edgephys.targets.rtl.board import simulate

    inputs = model.held_out.inputs
    chosen = inputs[np.linspace(0, len(inputs) - 1, plan.vectors).astype(int)]
    expected = evaluate.run(model.graph, chosen)
    outputs = simulate.of_routed(top, routed.netlist).outputs(chosen)
    return len(chosen), int((outputs.reshape(expected.shape) != expected).sum())


README = """\
# {model} on {board}

{bitstream} is the bitstream. `{load}` writes it into the board.{run}

| port | ball | |
| --- | --- | --- |
{pins}

The pins are those of {source}. {line}
A frame is: start byte, number of payload bytes (low, high), payload, CRC-8 (polynomial 0x07, from 0) of all between
start byte and CRC.

- A request starts with 0xA5. Its {inputs} bytes are `in_bits` of the network, the lowest byte first: see
  ../firmware/README.md for elements and formats.
- The answer starts with 0x5A; its {outputs} bytes are `out_bits`.
- A malformed request is answered, once the line was silent for {silence} clocks, by a frame that starts with 0xE5.
  Its byte says why: {reasons}.

A request is answered before the next one is sent.
"""

LINES = {
    UART: "The serial line has {baud:,} bits a second, 8 data bits, no parity, 1 stop bit ({clocks} clocks of "
    "{clock:g} MHz a bit).",
    SPI: "The line is SPI, mode 0, the highest bit first, with the host as master, of at most {spi:g} MHz. A request "
    "is one transfer (cs_n at 0). A transfer whose first byte is 0 reads: from its second byte on miso has the answer, "
    "with zeros before and behind it.",
}
RUN = " `edgephys run-board PORT --project ..` sends the project's held-out vectors and compares every integer."


def _readme(model: Model, plan: BoardPlan, top: BoardTop, bit: Path) -> str:
    from edgephys.targets.rtl.board.framing import REASONS, SILENCE_BITS, bytes_of

    board = plan.board
    pins = [f"| `{name}` | {pin.site} | {pin.connects} |" for name, pin in board.pins_of(plan.shell).items()]
    line = LINES[plan.shell].format(
        baud=plan.baud, clocks=top.clocks, clock=board.clock_mhz, spi=board.clock_mhz / SPI_CLOCKS
    )
    return README.format(
        model=model.name,
        board=board.title,
        bitstream=bit.name,
        load=board.load.format(bitstream=bit.name),
        pins="\n".join(pins),
        run=RUN if plan.shell == UART else "",
        source=board.source,
        line=line,
        inputs=bytes_of(top.input),
        outputs=bytes_of(top.output),
        silence=SILENCE_BITS * top.clocks,
        reasons=", ".join(f"{code} {reason}" for code, reason in REASONS.items()),
    )
