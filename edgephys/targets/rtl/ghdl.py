"""Simulate VHDL with GHDL: a test bench clocks a file of bits through a top.

GHDL comes from the operating system, not from a package index: VHDL is simulated where it is installed.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgephys.core import builds
from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ToolError
from edgephys.core.scratch import temporary_folder
from edgephys.targets.rtl.bits import Words, of_bits, to_bits

BENCH = """-- Clock every line of a file through the design; write the outputs after each rising edge.
library ieee;
use ieee.std_logic_1164.all;
use std.textio.all;

entity bench is
  generic (given: string; got: string);
end entity bench;

architecture test of bench is
  signal clk: std_logic := '0';
  signal in_bits: std_logic_vector(IN_WIDTH - 1 downto 0);
  signal out_bits: std_logic_vector(OUT_WIDTH - 1 downto 0);
begin
  dut: entity work.TOP port map (clk => clk, in_bits => in_bits, out_bits => out_bits);
  process
    file source: text open read_mode is given;
    file target: text open write_mode is got;
    variable row: line;
    variable word: bit_vector(IN_WIDTH - 1 downto 0);
  begin
    while not endfile(source) loop
      readline(source, row);
      read(row, word);
      in_bits <= to_stdlogicvector(word);
      wait for 1 ns;
      clk <= '1';
      wait for 1 ns;
      clk <= '0';
      write(row, to_string(out_bits));
      writeline(target, row);
    end loop;
    wait;
  end process;
end architecture test;
"""
STANDARD = "--std=08"


def built(
    sources: Sequence[Path], top: str, widths: tuple[int, int], repeated: Sequence[str], timeout_s: float
) -> Path:
    """Return the folder of the analysed library, from the cache where the same content was analysed before.

    Units: widths (in, out) in bits, timeout_s in seconds.
    Raises: ToolError where GHDL is missing, fails or runs out of time.
    """
    ghdl = tools.find("ghdl")
    bench = BENCH.replace("IN_WIDTH", str(widths[0])).replace("OUT_WIDTH", str(widths[1])).replace("TOP", top)
    key = builds.content_key(sources, ghdl.version, STANDARD, bench)

    def build(home: Path) -> None:
        names = [f"{number:04d}_{path.name}" for number, path in enumerate(sources)]
        for name, path in zip(names, sources, strict=True):  # GHDL reads them again when it elaborates
            shutil.copyfile(path, home / name)
        (home / "bench.vhd").write_text(bench)
        tools.run([*ghdl.command, "-a", STANDARD, *names, "bench.vhd"], home, timeout_s)

    return builds.built(key, build)


def clocked(home: Path, words: Words, widths: tuple[int, int], timeout_s: float) -> Words:
    """Return the output words, (clock, word), after each edge that samples a row of ``words``."""
    ghdl = tools.find("ghdl")
    with temporary_folder("sim") as scratch:
        inputs, outputs = scratch / "in.txt", scratch / "out.txt"
        rows = to_bits(words)[:, : widths[0]][:, ::-1] + ord("0")
        inputs.write_bytes(np.pad(rows, ((0, 0), (0, 1)), constant_values=ord("\n")).tobytes())
        command = [*ghdl.command, "-r", STANDARD, "bench", f"-ggiven={inputs}", f"-ggot={outputs}"]
        tools.run([*command, "--ieee-asserts=disable"], home, timeout_s)
        text = np.frombuffer(outputs.read_bytes(), np.uint8)
    if text.size != len(words) * (widths[1] + 1):
        raise ToolError(f"simulation: {len(words)} clocks must give as many lines, not {text.size // (widths[1] + 1)}")
    letters = text.reshape(len(words), widths[1] + 1)[:, -2::-1]
    known = ((letters == ord("0")) | (letters == ord("1"))).all(axis=1)
    if not known[int(known.argmax()) :].all():  # unknown before the first vector has passed, never after
        raise MismatchError("simulation: an output bit is neither 0 nor 1 after the first vector")
    return of_bits((letters == ord("1")).astype(np.uint8))
