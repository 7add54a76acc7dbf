"""What an RTL project holds beside its sources: a README, scripts, and a test bench that finds what is wrong."""

import os
import shutil
import subprocess

import numpy as np
import pytest
from random_graphs import vectors
from rtl_graphs import blurred, tagger

from edgephys.core import processes
from edgephys.targets.rtl.options import RtlOptions
from edgephys.targets.rtl.target import RtlTarget

KINDS = {
    "parallel": (lambda: tagger(4), {}),
    "handshake": (lambda: tagger(4), {"ii": 4}),
    "stream": (lambda: blurred(), {"io": "stream"}),
}
COUNT = 12


def emitted(kind, folder, **more):
    make, options = KINDS[kind]
    graph, options = make(), RtlOptions(**options, **more)
    facts = RtlTarget().emit(graph, folder, options)
    RtlTarget().write_testbench(graph, folder, facts, vectors(graph, COUNT))
    return graph, facts


def made(folder, target="icarus"):
    verilator = processes.find("verilator")
    command = ["make", "-s", target, f"VERILATOR={' '.join(verilator.command)}"]
    environment = os.environ | dict(verilator.environment)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True).stdout


@pytest.mark.skipif(not shutil.which("iverilog"), reason="needs Icarus Verilog")
@pytest.mark.parametrize("kind", KINDS)
def test_the_test_bench_runs_with_make_and_finds_an_output_that_differs(kind, tmp_path):
    graph, _ = emitted(kind, tmp_path)
    outputs = COUNT * (int(np.prod(graph.input.shape[:2])) if kind == "stream" else 1)
    assert f"0 of {outputs} outputs differ" in made(tmp_path)
    expected = tmp_path / "sim" / "expected.hex"
    first, *rest = expected.read_text().splitlines()
    expected.write_text("\n".join([first, f"{int(rest[0], 16) ^ 1:x}", *rest[1:]]))
    assert f"1 of {outputs} outputs differ" in made(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_test_bench_runs_with_verilator(kind, tmp_path):
    emitted(kind, tmp_path)
    assert "\n0 of " in "\n" + made(tmp_path, "verilator")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("parallel", ("An input at every clock edge; its output is there", "| `out_bits` | out |")),
        ("handshake", ("An input every 4 clocks or later", "| `ready_in` | out | 1 |", ".ready_out(ready_out)")),
        ("stream", ("A pixel of 6 x 7 a clock", "| `start` | in | 1 |", "1 of 8 bits, signed, in steps of 2^-4")),
    ],
)
def test_the_readme_names_every_port_with_its_bits_and_what_it_means(kind, said, tmp_path):
    _, facts = emitted(kind, tmp_path, part="xc7k325tffg900-2", clock_ns=4.0)
    text = (tmp_path / "README.md").read_text()
    assert all(words in text for words in said) and "xc7k325tffg900-2 at 4 ns" in text
    script = (tmp_path / "vivado.tcl").read_text()
    assert f"synth_design -top {facts['top']} -part xc7k325tffg900-2" in script
    assert (tmp_path / "constraints.xdc").read_text() == "create_clock -name clk -period 4 [get_ports clk]\n"


def test_a_project_in_vhdl_has_a_readme_and_no_test_bench_in_verilog(tmp_path):
    emitted("parallel", tmp_path, language="vhdl")
    assert "VHDL-2008" in (tmp_path / "README.md").read_text() and "read_vhdl" in (tmp_path / "vivado.tcl").read_text()
    assert not (tmp_path / "Makefile").exists() and not list((tmp_path / "sim").glob("*.hex"))
