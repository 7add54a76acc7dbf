"""Compile a top with Verilator into a program that clocks a file of bits through it.

The program reads one input vector a clock and writes the outputs after each rising edge; what that
means for latency is not its business.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from edgephys.errors import ToolError
from edgephys.firmware import tools

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
FLAGS = ("--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "--prefix", "Vdut")
QUIET = ("-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wno-TIMESCALEMOD", "--quiet")
GUARD = "VL_PCH_INCLUDED"
"""Verilator's check that a source has one precompiled header: none is precompiled here."""
RUNTIME = ("verilated", "verilated_dpi", "verilated_threads")
COMPILE = """# fast.cpp is what runs every clock, slow.cpp what runs once: one header parse each
CPPFLAGS = -I$(ROOT)/include -I$(ROOT)/include/vltstd -DVERILATOR=1 -DVM_TRACE=0 -DVM_COVERAGE=0 -DVM_SC=0 -DVM_TIMING=0
simulator: fast.o slow.o
\tg++ $^ $(RUNTIME)/*.o -pthread -o $@
fast.o: fast.cpp
\tg++ -O1 $(CPPFLAGS) -c $< -o $@
slow.o: slow.cpp
\tg++ -O0 $(CPPFLAGS) -c $< -o $@
%.o: $(ROOT)/include/%.cpp
\tg++ -O1 $(CPPFLAGS) -c $< -o $@
"""


def built(facts: Mapping[str, Any], sources: Sequence[Path], top: str, timeout_s: float) -> Path:
    """Return the compiled program of ``top``, from the cache where its content is there.

    Raises: ToolError where the simulator is missing, fails or runs out of time.
    """
    verilator, compiler = tools.find("verilator"), tools.find("g++")
    text, control = _program(facts, top), _control(facts)
    key = tools.content_key(
        sources, verilator.version, compiler.version, *FLAGS, top, text, COMPILE, control
    )

    def build(home: Path) -> None:
        (home / "main.cpp").write_text(text)
        (home / "dut.vlt").write_text(control)
        (home / "Makefile").write_text(COMPILE)
        runtime = _runtime(verilator, compiler, timeout_s)
        command = [*verilator.command, *FLAGS, *QUIET, "--top-module", top, "--Mdir", "objects"]
        command += ["--hierarchical"] if "hier_block" in control else []
        command += ["dut.vlt", *(str(path.resolve()) for path in sources)]
        tools.run(command, home, timeout_s, verilator.environment, log=home / "verilator.log")
        for name, slow in (("fast.cpp", False), ("slow.cpp", True)):
            found = sorted(p for p in (home / "objects").rglob("*.cpp") if p.stem.endswith("__Slow") is slow)
            found += [] if slow else [home / "main.cpp"]
            (home / name).write_text("".join(f'#undef {GUARD}\n#include "{path.relative_to(home)}"\n' for path in found))
        _make(home, timeout_s, verilator, f"RUNTIME={runtime}", "simulator")
        shutil.rmtree(home / "objects")
        for left in ("fast.o", "slow.o"):
            (home / left).unlink()

    return tools.built(key, build) / "simulator"


def _runtime(verilator: tools.Tool, compiler: tools.Tool, timeout_s: float) -> Path:
    """Return the folder of Verilator's runtime objects, compiled once a version."""

    def build(home: Path) -> None:
        (home / "Makefile").write_text(COMPILE)
        _make(home, timeout_s, verilator, *(f"{name}.o" for name in RUNTIME))

    return tools.built(tools.content_key([], verilator.version, compiler.version, COMPILE), build)


def _make(home: Path, timeout_s: float, verilator: tools.Tool, *words: str) -> None:
    root = f"ROOT={verilator.environment['VERILATOR_ROOT']}"
    tools.run(["make", "-j2", root, *words], home, timeout_s, log=home / "make.log")


def _program(facts: Mapping[str, Any], top: str) -> str:
    def words(ports: list[dict[str, Any]]) -> str:
        return str(-(-sum(prod(port["shape"]) * port["bits"] for port in ports) // 32))

    given = facts["probed"] if top == facts["probe"] else facts["output"]
    return PROGRAM.replace("IN_WORDS", words(facts["input"])).replace("OUT_WORDS", words(given))


def _control(facts: Mapping[str, Any]) -> str:
    """Compile a module with copies once, as a library: the C++ then grows with the layers, not with N."""
    repeated = [block["module"] for block in facts["blocks"] if block["module"] and block["copies"] > 1]
    return "\n".join(["`verilator_config", *(f'hier_block -module "{name}"' for name in repeated), ""])
