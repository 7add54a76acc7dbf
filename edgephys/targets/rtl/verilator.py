"""Compile Verilog with Verilator into a program that clocks a file of bits through it.

The program reads one input vector at each clock and writes the outputs after each rising edge. A module with copies is
compiled once, as a library of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgephys.core import builds
from edgephys.core import processes as tools
from edgephys.core.errors import ToolError
from edgephys.core.scratch import temporary_folder
from edgephys.targets.rtl.bits import Words

PROGRAM = """// Clock every vector of a file through the design; write the outputs after each rising edge.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>
#include "objects/Vdut.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

template <typename Port> static void put(Port& port, const uint32_t* words) {
    uint64_t value = words[0];
    if (sizeof(Port) > 4) value |= static_cast<uint64_t>(words[1]) << 32;
    port = static_cast<Port>(value);
}
template <std::size_t N> static void put(VlWide<N>& port, const uint32_t* words) {
    for (std::size_t i = 0; i < N; ++i) port[i] = words[i];
}
template <typename Port> static void get(const Port& port, uint32_t* words) {
    const uint64_t value = port;
    words[0] = static_cast<uint32_t>(value);
    if (sizeof(Port) > 4) words[1] = static_cast<uint32_t>(value >> 32);
}
template <std::size_t N> static void get(const VlWide<N>& port, uint32_t* words) {
    for (std::size_t i = 0; i < N; ++i) words[i] = port[i];
}

int main(int count, char** names) {
    if (count != 3) return 2;
    std::FILE* in = std::fopen(names[1], "rb");
    std::FILE* out = std::fopen(names[2], "wb");
    if (!in || !out) return 3;
    const auto context = std::make_unique<VerilatedContext>();
    const auto dut = std::make_unique<Vdut>(context.get());
    std::vector<uint32_t> given(IN_WORDS), got(OUT_WORDS);
    while (std::fread(given.data(), 4, given.size(), in) == given.size()) {
        dut->clk = 0;
        put(dut->in_bits, given.data());
        dut->eval();
        dut->clk = 1;
        dut->eval();
        get(dut->out_bits, got.data());
        if (std::fwrite(got.data(), 4, got.size(), out) != got.size()) return 4;
    }
    dut->final();
    return std::fclose(out) ? 4 : 0;
}
"""
FAST = ("-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert")
RIGHT = ("-fno-dfg-peephole",)
"""Verilator 5.048 computes a product of a sum and one of its terms wrongly where this optimisation is on."""
FLAGS = ("--cc", *FAST, *RIGHT, "--output-groups", "0", "--prefix", "Vdut")
"""No groups: Verilator would make files that include several sources; here every source is compiled by itself."""
WAIVED = {
    "DECLFILENAME": "sources are read under other names, and a layer's file holds all stages of its pipeline",
    "UNUSEDSIGNAL": "a layer need not read every bit of an edge: those of pruned weights are proven not to matter",
}
"""Verilator's warnings that are not findings, each with the reason; all others are (``warnings``)."""
WARN = ("-Wall", "-Wno-fatal", *(f"-Wno-{name}" for name in WAIVED), "--quiet")
LOG = "verilator.log"
"""What Verilator says, in the folder of the compiled program."""
SOURCE = "source_"
"""Verilator reads copies of the sources: this and the number of the source are their names."""
GUARD = "VL_PCH_INCLUDED"
"""Macro by which Verilator checks for a precompiled header; no header is precompiled here."""
RUNTIME = ("verilated", "verilated_dpi", "verilated_threads")
COMPILE = """# fast_*.cpp run every clock; slow.cpp, if there is one, runs once. Each parses the headers. On expressions
# of adders the search for instructions to combine takes half of -O1 and more, and makes nothing faster.
CPPFLAGS = -I$(ROOT)/include -I$(ROOT)/include/vltstd -DVERILATOR=1 -DVM_TRACE=0 -DVM_COVERAGE=0 -DVM_SC=0 -DVM_TIMING=0
simulator: $(OBJECTS)
\tg++ $^ $(RUNTIME)/*.o -pthread -o $@
fast_%.o: fast_%.cpp
\tg++ -O1 --param max-combine-insns=2 $(CPPFLAGS) -c $< -o $@
slow.o: slow.cpp
\tg++ -O0 $(CPPFLAGS) -c $< -o $@
%.o: $(ROOT)/include/%.cpp
\tg++ -O1 $(CPPFLAGS) -c $< -o $@
"""
JOBS = 2
HIERARCHICAL = ("--hierarchical", "--build-jobs", str(JOBS))
SPLIT = 2_000_000
"""Bytes of C++ from which compiling on both cores is worth a second parse of the headers."""
SLOW = 100_000
"""Bytes of C++ that runs once from which compiling it without optimisation is worth a second parse of the headers."""


def built(
    sources: Sequence[Path], top: str, widths: tuple[int, int], repeated: Sequence[str], timeout_s: float
) -> Path:
    """Return the folder of the compiled program of ``top``, from the cache where the same content was compiled before.

    Units: widths (in, out) in bits, timeout_s in seconds.  ``repeated`` names the modules with copies.
    Raises: ToolError where a tool is missing, fails or runs out of time.
    """
    verilator, compiler = tools.find("verilator"), tools.find("g++")
    words = [str(-(-width // 32)) for width in widths]
    program = PROGRAM.replace("IN_WORDS", words[0]).replace("OUT_WORDS", words[1])
    control = "\n".join(["`verilator_config", *(f'hier_block -module "{name}"' for name in repeated), ""])
    texts = (*FLAGS, *WARN, top, program, COMPILE, control)
    key = builds.content_key(sources, verilator.version, compiler.version, *texts)

    def build(home: Path) -> None:
        with temporary_folder("verilate") as work:  # make has no words for a space
            (work / "main.cpp").write_text(program)
            (work / "dut.vlt").write_text(control)
            copies = [shutil.copyfile(path, work / f"{SOURCE}{i}{path.suffix}") for i, path in enumerate(sources)]
            shutil.copytree(_runtime(verilator, compiler, timeout_s), work / "runtime")
            command = [*verilator.command, *FLAGS, *WARN, *(HIERARCHICAL if repeated else ())]
            command += ["--top-module", top, "--Mdir", "objects", "dut.vlt", *(path.name for path in copies)]
            tools.run(command, work, timeout_s, verilator.environment, log=home / LOG)
            generated = sorted((work / "objects").rglob("*.cpp"))
            slow = [path for path in generated if path.stem.endswith("__Slow")]
            if sum(path.stat().st_size for path in slow) < SLOW:
                slow = []
            shares = _shared_out([*(path for path in generated if path not in slow), work / "main.cpp"])
            units = {"slow": slow} if slow else {}
            units |= {f"fast_{i}": share for i, share in enumerate(shares)}
            for name, included in units.items():
                _include(work / f"{name}.cpp", included)
            objects = " ".join(f"{name}.o" for name in units)
            _make(work, timeout_s, verilator, "RUNTIME=runtime", f"OBJECTS={objects}", "simulator")
            shutil.copy2(work / "simulator", home / "simulator")

    return builds.built(key, build)


def clocked(home: Path, words: Words, widths: tuple[int, int], timeout_s: float) -> Words:
    """Return the output words, (clock, word), after each edge that samples a row of ``words``."""
    count = -(-widths[1] // 32)
    with temporary_folder("sim") as scratch:
        input_path, output_path = scratch / "in.bin", scratch / "out.bin"
        input_path.write_bytes(np.ascontiguousarray(words, "<u4").tobytes())
        tools.run([str(home / "simulator"), str(input_path), str(output_path)], scratch, timeout_s)
        outputs = np.frombuffer(output_path.read_bytes(), "<u4")
    if outputs.size != len(words) * count:
        raise ToolError(f"simulation: {len(words)} clocks must give {len(words) * count} words, not {outputs.size}")
    return outputs.reshape(len(words), count)


def _shared_out(sources: Sequence[Path]) -> list[list[Path]]:
    """Return the sources in ``JOBS`` shares of about the same size; small sources in one share."""
    size = {path: path.stat().st_size for path in sources}
    if sum(size.values()) < SPLIT:
        return [list(sources)]
    shares: list[list[Path]] = [[] for _ in range(JOBS)]
    for path in sorted(sources, key=lambda path: -size[path]):
        min(shares, key=lambda share: sum(size[other] for other in share)).append(path)
    return shares


def _include(path: Path, sources: Sequence[Path]) -> None:
    lines = [f'#undef {GUARD}\n#include "{source.relative_to(path.parent)}"\n' for source in sources]
    path.write_text("".join(lines))


def _runtime(verilator: tools.Tool, compiler: tools.Tool, timeout_s: float) -> Path:
    """Return the folder of Verilator's runtime objects, compiled once for each version."""

    def build(home: Path) -> None:
        _make(home, timeout_s, verilator, *(f"{name}.o" for name in RUNTIME))

    return builds.built(builds.content_key([], verilator.version, compiler.version, COMPILE), build)


def _make(home: Path, timeout_s: float, verilator: tools.Tool, *words: str) -> None:
    (home / "Makefile").write_text(COMPILE)
    root = f"ROOT={verilator.environment['VERILATOR_ROOT']}"
    tools.run(["make", f"-j{JOBS}", root, *words], home, timeout_s, log=home / "make.log")
