"""Yosys: the LUTs, flip-flops and DSPs of a project, synthesised as a whole (flat) or module by module.

Flat synthesis of a large network takes tens of minutes and gigabytes. A network has registers between its layers.
Therefore ``synthesise`` can build each module that the top instantiates by itself, in parallel and cached by content,
and add the counts.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgephys.core import builds
from edgephys.core import processes as tools
from edgephys.core.beside import beside
from edgephys.core.errors import ToolError
from edgephys.core.figure import Figure, FigureStage
from edgephys.core.reading import read_json
from edgephys.targets.rtl.cells import PRIMITIVES, TARGETS, UNITS, Cells, count
from edgephys.targets.rtl.yosys import Limits, read_verilog, require_word, run_yosys

Progress = Callable[[str, int, int], None]
"""Called with the name of a module, the number of finished modules, and the number of all."""

# Plain ABC in place of synth_xilinx' own abc9. On one 32x32, 8-bit matrix-vector module: abc9 as it
# comes 80 s of processor time and 17,830 LUT, abc9 with `&if` alone 66 s and 17,641, plain abc 39 s and
# 17,718. Only cells are counted here, so that abc9's knowledge of delays buys nothing. The first label of
# synth_xilinx would read cells_xtra.v too: cells that no emitted source instantiates, 1.2 s of each module.
MAP_XCUP = """\
read_verilog -lib -specify +/xilinx/cells_sim.v
hierarchy -check -top {top}
synth_xilinx -family xcup -noiopad -noclkbuf -flatten -top {top} -run prepare:map_luts
opt_expr -mux_undef -noclkinv
abc -luts 2:2,3,6:5,10,20
clean
xilinx_srl -fixed -minlen 3
techmap -map +/xilinx/lut_map.v -map +/xilinx/cells_map.v -D LUT_WIDTH=6
xilinx_dffopt
opt_lut_ins -tech xilinx
clean
"""
# The open boards of iCE40 and Gowin get LUTs, carries and flip-flops only: there are no models of their routed memories
# and multipliers.
MAP = {
    "xcup": MAP_XCUP,
    "ecp5": "synth_ecp5 -top {top}\n",
    "ice40": "synth_ice40 -device u -nobram -top {top}\n",
    "gowin": "synth_gowin -family gw5a -nobram -nolutram -nodsp -top {top}\n",
}
# The netlist has single bits as nets: a simulator would take vectors whose bits depend on each other for loops.
# Short names in place of the sources' make it a quarter as long.
WRITE = """\
tee -q -o counts.json stat -json
splitnets
rename -hide w:*
opt_clean
write_verilog -noattr netlist.v
"""


@dataclass(frozen=True)
class ModuleCells:
    """State the cells of one copy of a module, its copies in the top, and the seconds of its synthesis.

    ``primitives`` counts the cells by their names in ``netlist``, which ``task`` made.
    """

    cells: Cells
    copies: int
    seconds: float
    netlist: Path
    task: SynthesisTask
    primitives: Mapping[str, int]


@dataclass(frozen=True)
class Synthesised:
    """State the cells of a design after synthesis; ``per_module`` adds up to ``cells``.

    Units: seconds of tool time when each module was built; a module may come from the cache.
    """

    cells: Cells
    per_module: dict[str, ModuleCells]
    seconds: float
    flat: bool
    family: str
    tool: str
    version: str

    @property
    def target(self) -> str:
        """Target of the counts, in words."""
        return TARGETS[self.family]

    def figures(self) -> tuple[Figure, ...]:
        """Return the counts with their provenance."""
        target = f"{self.target}, {'flat' if self.flat else 'module by module'}"
        return tuple(
            Figure(name, getattr(self.cells, name), unit, FigureStage.SYNTHESISED, self.tool, self.version, target)
            for name, unit in UNITS[self.family].items()
        )


def synthesise(
    sources: Sequence[Path],
    top: str,
    family: str = "xcup",
    flat: bool = False,
    timeout_s: float = 1800.0,
    jobs: int = 2,
    memory_gb: float = 8.0,
    progress: Progress | None = None,
    split: Collection[str] = (),
) -> Synthesised:
    """Return the cells of module ``top`` in Verilog ``sources``, out of context.

    Not flat: each unparameterised module that the top instantiates is synthesised by itself, and the top with these
    modules as black boxes; so is each module of ``split``, which the top instantiates. The counts are summed over the
    copies. Logic that only the whole design shows to be unused (an output that nothing reads, an input that is
    constant) stays in the sum.
    Units: timeout_s and memory_gb limit each run of Yosys; ``jobs`` run at a time.
    Raises: ToolError naming the module where Yosys fails, is killed, or leaves its limits.
    """
    if family not in PRIMITIVES:
        raise ToolError(f"family must be one of {', '.join(PRIMITIVES)}, not {family!r}")
    require_word(top)
    yosys = tools.find("yosys")
    limits = Limits(timeout_s, memory_gb)
    files = tuple(sorted(sources))
    if flat:
        tasks = {top: SynthesisTask(top, files, family)}
        copies = {top: 1}
    else:
        hierarchy = _hierarchy(yosys, files, top, limits)
        tasks, copies = _split(hierarchy, top, family, split)
    parts: dict[str, ModuleCells] = {}
    for name, (home, primitives) in _all(yosys, tasks, limits, jobs, progress).items():
        seconds = float(read_json(home / "seconds.json"))
        cells = count(primitives, family, name)
        parts[name] = ModuleCells(cells, copies[name], seconds, home / "netlist.v", tasks[name], primitives)
    total = sum((part.cells.times(part.copies) for part in parts.values()), Cells())
    seconds_total = sum(part.seconds for part in parts.values())
    return Synthesised(total, parts, seconds_total, flat, family, yosys.name, yosys.version)


# The hierarchy, from Yosys itself ----------------------------------------------------------------


@dataclass(frozen=True)
class _Hierarchy:
    """Map each elaborated module to the modules that it instantiates, and each module in the source to its file."""

    instances: Mapping[str, Mapping[str, int]]
    defined_in: Mapping[str, Path]

    def below(self, name: str, without: Iterable[str] = ()) -> set[str]:
        """Return the modules from ``name`` downwards, without the modules of ``without`` and what is below them."""
        modules: set[str] = set()
        todo = [name]
        while todo:
            module = todo.pop()
            if module not in modules and module not in without:
                modules.add(module)
                todo += [child for child in self.instances[module] if child in self.instances]
        return modules

    def files(self, modules: Iterable[str]) -> tuple[Path, ...]:
        """Return the files that define the modules."""
        return tuple(sorted({self.defined_in[_written(module)] for module in modules}))


def _written(module: str) -> str:
    """Return the name of an elaborated module in the source: Yosys writes $paramod$<hash>\\name."""
    return module.split("\\")[1] if module.startswith("$paramod") else module


def _hierarchy(yosys: tools.Tool, files: tuple[Path, ...], top: str, limits: Limits) -> _Hierarchy:
    script = read_verilog(files) + f"hierarchy -check -top {top}\ntee -q -o hierarchy.json stat -json\n"
    key = builds.content_key(files, yosys.version, "hierarchy", top, *map(str, files))

    def build(folder: Path) -> None:
        log = run_yosys(yosys, folder, script, top, limits)
        (folder / "defined.json").write_text(json.dumps(_defined(log, files)))

    home = builds.built(key, build)
    modules = read_json(home / "hierarchy.json")["modules"]
    instances = {
        name.removeprefix("\\"): {
            child.removeprefix("\\"): int(number) for child, number in module["num_cells_by_type"].items()
        }
        for name, module in modules.items()
    }
    defined = read_json(home / "defined.json")
    return _Hierarchy(instances, {name: Path(path) for name, path in defined.items()})


def _defined(log: str, files: tuple[Path, ...]) -> dict[str, str]:
    """Return the file that defines each module, from Yosys' log: one frontend header for each file, in order."""
    sections = re.split(r"Executing Verilog-2005 frontend: ", log)[1:]
    defined: dict[str, str] = {}
    for path, section in zip(files, sections, strict=True):
        for name in re.findall(r"(?:Generating RTLIL|Storing AST) representation for module `(\S+)'\.", section):
            if not name.startswith("$paramod"):
                defined[name.removeprefix("$abstract").removeprefix("\\")] = str(path)
    return defined


# One module ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SynthesisTask:
    """State one run of Yosys: files to read, files only to declare, and its top module."""

    top: str
    files: tuple[Path, ...]
    family: str
    boxes: tuple[str, ...] = ()
    declared: tuple[Path, ...] = ()

    def read(self) -> str:
        """Return the commands that read the sources, and make black boxes of the modules that have their own tasks."""
        boxes = f"blackbox {' '.join('=' + name for name in self.boxes)}\n" if self.boxes else ""
        return read_verilog(self.declared, "-lib ") + read_verilog(self.files) + boxes

    def script(self) -> str:
        """Return the script; black boxes are counted by their own tasks."""
        return self.read() + MAP[self.family].format(top=self.top) + WRITE

    def size(self) -> int:
        """Return the bytes of the sources: the largest task is started first."""
        return sum(path.stat().st_size for path in self.files)


def _split(
    hierarchy: _Hierarchy, top: str, family: str, split: Collection[str]
) -> tuple[dict[str, SynthesisTask], dict[str, int]]:
    """Return a task for each module that the top or one of ``split`` instantiates, for these too, and the copies."""
    direct = {
        name: number
        for name, number in hierarchy.instances[top].items()
        if name in hierarchy.instances and not name.startswith("$")
    }
    tasks: dict[str, SynthesisTask] = {}
    copies: Counter[str] = Counter()
    for name, number in direct.items():
        require_word(name)
        below = {name: SynthesisTask(name, hierarchy.files(hierarchy.below(name)), family)}, {name: 1}
        inside, times = _split(hierarchy, name, family, ()) if name in split else below
        tasks |= inside
        copies.update({part: number * count for part, count in times.items()})
    own = hierarchy.files(hierarchy.below(top, without=direct))
    declared = tuple(path for path in hierarchy.files(direct) if path not in own)
    tasks[top] = SynthesisTask(top, own, family, tuple(direct), declared)
    return tasks, {**copies, top: 1}


def _all(
    yosys: tools.Tool, tasks: Mapping[str, SynthesisTask], limits: Limits, jobs: int, progress: Progress | None
) -> dict[str, tuple[Path, dict[str, int]]]:
    """Run the tasks, ``jobs`` at a time; the first failure, or Ctrl-C, stops the running ones."""
    order = sorted(tasks.values(), key=lambda task: (-task.size(), task.top))
    with beside([partial(_one, yosys, task, limits) for task in order], jobs) as results:
        running = dict(zip(results, order, strict=True))
        for number, future in enumerate(as_completed(running), 1):
            future.result()
            if progress is not None:
                progress(running[future].top, number, len(running))
    return {task.top: future.result() for future, task in running.items()}


def _one(yosys: tools.Tool, task: SynthesisTask, limits: Limits) -> tuple[Path, dict[str, int]]:
    """Return the folder of a task's results, and its cells by their names."""
    script = task.script()
    key = builds.content_key(
        (*task.declared, *task.files), yosys.version, task.top, MAP[task.family], WRITE, *task.boxes
    )

    def build(folder: Path) -> None:
        start = time.monotonic()
        run_yosys(yosys, folder, script, task.top, limits)
        (folder / "seconds.json").write_text(json.dumps(time.monotonic() - start))

    home = builds.built(key, build)
    counts = read_json(home / "counts.json")["modules"]["\\" + task.top]["num_cells_by_type"]
    return home, {name: number for name, number in counts.items() if name not in ("$scopeinfo", *task.boxes)}
