"""Choose the pipelining by measurement: the same network at several depths, each simulated, placed and routed.

The delay of a stage is only estimated when the design is cut into stages, and for another family of parts. The number
of stages is therefore searched for on the part itself. The design with the lowest latency is chosen, among those that
meet the clock after routing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core import builds
from edgephys.core import processes as tools
from edgephys.core.errors import EdgephysError, MismatchError, ToolError, UsageError
from edgephys.core.figure import FigureStage
from edgephys.core.fixed import Integers
from edgephys.core.reading import read_json
from edgephys.core.scratch import temporary_folder
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph
from edgephys.targets.fpga import STREAM
from edgephys.targets.rtl import emit as rtl
from edgephys.targets.rtl import place, simulate
from edgephys.targets.rtl.options import RtlOptions

ADDER_NS = 1.1
"""alkaid's estimate of one adder: no stage is shorter, so that more stages would only add registers."""
STEEPER = 1.25
"""The least factor from one number of stages that is too small to the next one tried."""
AROUND = (-2, -1, 1, 2)
"""Numbers of stages around the fewest that meet the clock; measured too, because routing scatters."""

Measure = Callable[[int], "PipelinedDesign"]
"""Return the measured design with a number of stages."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class PipelinedDesign:
    """State one design: latency and initiation interval from simulation, clock and cells from place and route.

    Units: cutoff_ns in alkaid's estimate of ns; fmax in MHz, the best over the seeds, reached with ``seed``.
    """

    stages: int
    cutoff_ns: float
    latency_cycles: int
    ii: int
    vectors: int
    fmax_mhz: float
    seed: int
    fmax_by_seed: tuple[tuple[int, float], ...]
    lut: int
    ff: int

    def meets(self, clock_ns: float) -> bool:
        """Whether the routed design runs at a clock."""
        return self.fmax_mhz * clock_ns >= 1000


@dataclass(frozen=True)
class PipeliningSweep:
    """Hold the designs measured for a clock, by number of stages, and the one to keep, if any meets it.

    ``provenance`` states stage, tool, version and target of each measured figure.
    """

    clock_ns: float
    part: str
    delay_estimate_ns: float
    points: tuple[PipelinedDesign, ...]
    chosen: PipelinedDesign | None
    provenance: Mapping[str, str]

    @property
    def best(self) -> PipelinedDesign:
        """The design with the fastest clock."""
        return max(self.points, key=lambda point: point.fmax_mhz)

    def require(self) -> PipelinedDesign:
        """Return the chosen design; raise ToolError, with the fastest design, where none meets the clock."""
        if self.chosen is None:
            best = self.best
            longer = ceil(10_000 / best.fmax_mhz) / 10
            raise ToolError(
                f"sweep: none of {len(self.points)} designs meets {self.clock_ns:g} ns on {self.part}; the best is "
                f"{best.fmax_mhz:.1f} MHz with {best.stages} stages; take a clock of {longer:g} ns or more"
            )
        return self.chosen


def sweep(
    graph: Graph,
    x: Integers,
    clock_ns: float,
    device: str = "85k",
    cutoffs_ns: Sequence[float] | None = None,
    seeds: Sequence[int] = (1,),
    timeout_s: float = 1800.0,
    say: Say | None = None,
) -> PipeliningSweep:
    """Return designs of a graph on an ECP5 with different numbers of stages, and the best one for a clock.

    Each design is simulated on ``x`` (vector, *input shape), in steps. Without ``cutoffs_ns`` the numbers of stages are
    searched for (``explore``). Earlier measurements are read from the cache.
    Raises: UsageError for an option that cannot be; ToolError, naming the design, where a tool fails;
    MismatchError where a design does not compute the golden model's integers.
    """
    options = _options(clock_ns, device, seeds)
    if cutoffs_ns is not None and not cutoffs_ns:
        raise UsageError("cutoffs must be 1 or more, not 0; without them they are searched for")
    chosen = [RtlOptions(part=options.part, clock_ns=clock_ns, cutoff_ns=cutoff) for cutoff in cutoffs_ns or ()]
    with temporary_folder("sweep") as scratch:
        facts = rtl.emit(graph, scratch, options)
    if facts["io"] == STREAM:
        raise UsageError(
            f"model '{graph.name}': its fields are streamed, and each of its levels has stages of its own, which no "
            f"sweep chooses; give `edgephys emit` a --cutoff-ns"
        )
    delay = float(facts["delay_estimate_ns"])
    bench = _Bench(graph, x, evaluate.run(graph, x), device, tuple(seeds), timeout_s, say or (lambda _: None))
    if cutoffs_ns is None:
        cut = {stages: RtlOptions(part=options.part, clock_ns=clock_ns, cutoff_ns=c) for stages, c in _even(delay)}
        points = explore(lambda stages: bench.measured(cut[stages]), clock_ns, max(cut))
    else:
        points = tuple(sorted((bench.measured(one) for one in chosen), key=lambda point: point.stages))
    return PipeliningSweep(clock_ns, options.part, delay, points, choose(points, clock_ns), bench.provenance(clock_ns))


def _options(clock_ns: float, device: str, seeds: Sequence[int]) -> RtlOptions:
    if device not in place.PARTS:
        raise UsageError(f"device must be one of {', '.join(place.PARTS)}, not '{device}'")
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise UsageError(f"seeds must be 1 or more numbers from 0 on, each once, not {list(seeds)}")
    return RtlOptions(part=place.PARTS[device], clock_ns=clock_ns)


def _even(delay_ns: float) -> list[tuple[int, float]]:
    """Return each sensible number of stages with a cutoff, in whole ps, that gives it."""
    most = max(1, ceil(delay_ns / ADDER_NS))
    return [(stages, max(0.001, ceil(1000 * delay_ns / stages) / 1000)) for stages in range(1, most + 1)]


def explore(measure: Measure, clock_ns: float, most: int) -> tuple[PipelinedDesign, ...]:
    """Return designs: one fully combinational, and those around the fewest stages that meet the clock.

    The number of stages grows with the ratio of reached to needed period until the clock is met; then it is bisected.
    """
    points: dict[int, PipelinedDesign] = {}

    def meets(stages: int) -> bool:
        if stages not in points:
            points[stages] = measure(stages)
        return points[stages].meets(clock_ns)

    high = 1
    while not meets(high) and high < most:
        lacking = 1000 / points[high].fmax_mhz / clock_ns
        high = min(most, max(high + 1, ceil(high * max(lacking, STEEPER))))
    if meets(high):
        low = max((stages for stages in points if not meets(stages)), default=0)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if meets(middle) else (middle, high)
        for stages in (high + step for step in AROUND):
            if 1 <= stages <= most:
                meets(stages)
    return tuple(points[stages] for stages in sorted(points))


def choose(points: Sequence[PipelinedDesign], clock_ns: float) -> PipelinedDesign | None:
    """Return the design with the fewest cycles, then the fewest cells, of those that meet the clock."""
    able = [point for point in points if point.meets(clock_ns)]
    return min(able, key=lambda point: (point.latency_cycles, point.lut + point.ff), default=None)


@dataclass(frozen=True, eq=False)
class _Bench:
    """Emit, simulate, place and route designs of a graph; each only once, because results are cached."""

    graph: Graph
    x: Integers
    golden: Integers
    device: str
    seeds: tuple[int, ...]
    timeout_s: float
    say: Say

    def measured(self, options: RtlOptions) -> PipelinedDesign:
        """Return a measured design, from the cache where the same content was measured before."""
        with temporary_folder("sweep") as folder:
            facts = rtl.emit(self.graph, folder, options)
            title = f"{facts['stages']} stage{'s' * (facts['stages'] != 1)} (cutoff {options.cutoff_ns:g} ns)"

            def build(home: Path) -> None:
                self.say(f"{title}: simulate, place and route")
                point = self._point(folder, facts, options)
                (home / "point.json").write_text(json.dumps(asdict(point)))

            try:
                home = builds.built(self._key(folder, options), build)
            except EdgephysError as error:
                raise type(error)(f"sweep: {title}: {error}") from error
        record = read_json(home / "point.json")
        point = PipelinedDesign(
            **{**record, "fmax_by_seed": tuple((seed, fmax) for seed, fmax in record["fmax_by_seed"])}
        )
        self.say(
            f"{title}: {point.latency_cycles} cycles, {point.fmax_mhz:.1f} MHz, {point.lut:,} LUT, {point.ff:,} FF"
        )
        return point

    def _key(self, folder: Path, options: RtlOptions) -> str:
        versions = [tools.find(name).version for name in ("verilator", "yosys", "nextpnr-ecp5")]
        vectors = [hashlib.sha256(part.astype("<i8").tobytes()).hexdigest() for part in (self.x, self.golden)]
        stated_options = json.dumps([asdict(options), self.device, self.seeds, self.x.shape])
        return builds.content_key(
            [folder / "src"], *PipelinedDesign.__dataclass_fields__, stated_options, *versions, *vectors
        )

    def _point(self, folder: Path, facts: Mapping[str, Any], options: RtlOptions) -> PipelinedDesign:
        simulated = simulate.simulate(folder, facts, self.x)
        wrong = int(np.count_nonzero(simulated.outputs != self.golden))
        if wrong:
            raise MismatchError(f"{wrong} of {self.golden.size} outputs differ from the golden model's; report it")
        sources = [folder / path for path in facts["sources"]]
        placed = {
            seed: place.place(sources, facts["top"], self.device, options.clock_ns, seed, self.timeout_s)
            for seed in self.seeds
        }
        seed, best = max(placed.items(), key=lambda result: result[1].fmax_mhz)
        return PipelinedDesign(
            stages=facts["stages"],
            cutoff_ns=options.stage_ns,
            latency_cycles=simulated.latency_cycles,
            ii=simulated.ii,
            vectors=len(self.x),
            fmax_mhz=best.fmax_mhz,
            seed=seed,
            fmax_by_seed=tuple((seed, result.fmax_mhz) for seed, result in placed.items()),
            lut=best.lut,
            ff=best.ff,
        )

    def provenance(self, clock_ns: float) -> dict[str, str]:
        """Return the provenance of the figures of every design."""
        simulator, router = tools.find("verilator"), tools.find("nextpnr-ecp5")
        seeds = f"seed{'s' * (len(self.seeds) > 1)} {', '.join(map(str, self.seeds))}"
        compared = f"{len(self.x):,} vectors, no output differs from the golden model"
        target = f"Lattice ECP5-{self.device}, out of context, aimed at {clock_ns:g} ns, {seeds}"
        routed = f"{FigureStage.PLACED_AND_ROUTED.value}, {router.name} {router.version}, {target}"
        simulated = f"{FigureStage.SIMULATED.value}, {simulator.name} {simulator.version}, {compared}"
        return {"latency_cycles": simulated, "ii": simulated, "fmax_mhz": routed, "lut": routed, "ff": routed}
