"""Generated C on a Cortex-M: the integers of the golden model, and sizes as binutils counts them."""

import subprocess
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cortex_m_model import DENSE, FACTS, HEADER, RUN, X, body, golden, needs_tools, written
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph, vectors

from edgephys.core.errors import MismatchError
from edgephys.core.figure import FigureStage
from edgephys.graph import evaluate
from edgephys.targets.c import cortex_m, qemu
from edgephys.targets.c import emit as c


@pytest.fixture
def toy(tmp_path):
    return partial(written, tmp_path)


# What it computes -----------------------------------------------------------------------------------


@needs_tools
@pytest.mark.parametrize("cpu", cortex_m.BOARDS)
def test_a_model_computes_the_golden_integers_on_every_processor(toy, cpu):
    ran = qemu.verify(toy(), FACTS, X, golden(X), cpu)
    assert np.array_equal(ran.outputs, golden(X)) and ran.outputs.dtype == np.int64
    assert np.array_equal(qemu.measure(toy(), FACTS, X[:1], cpu).outputs, golden(X[:1]))


@needs_tools
def test_one_wrong_golden_integer_is_found_and_named(toy):
    wrong = golden(X)
    wrong[2, 1] += 1
    expected = (
        rf"'toy' on cortex-m3: vector 2, output \(1,\): golden model {wrong[2, 1]}, qemu {wrong[2, 1] - 1}; 1 of 8"
    )
    with pytest.raises(MismatchError, match=expected):
        qemu.verify(toy(), FACTS, X, wrong)
    with pytest.raises(MismatchError, match=r"golden outputs must be \(4, 2\), not \(4, 1\)"):
        qemu.verify(toy(), FACTS, X, wrong[:, :1])


@needs_tools
def test_one_wrong_weight_is_found(toy):
    with pytest.raises(MismatchError, match="vector 0, output"):
        qemu.verify(toy(DENSE.replace("{13, -2}", "{13, -3}")), FACTS, X, golden(X))


@needs_tools
def test_constants_of_64_bits_survive_start_up_and_the_way_back(toy):
    folder = toy(body("(void)arena; output[0] = -9000000000000000001; output[1] = input[0] * 4000000000LL;"))
    text = (folder / "toy.h").read_text().replace("int16_t", "int64_t")
    (folder / "toy.h").write_text(text)
    assert qemu.measure(folder, FACTS, X[1:2]).outputs.tolist() == [[-9000000000000000001, -512000000000]]


@pytest.mark.slow
@needs_tools
@settings(max_examples=6)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 5))
def test_random_dense_layers_compute_the_golden_integers(seed, inputs, outputs):
    draw = np.random.default_rng(seed)
    weights, x = draw.integers(-128, 128, (inputs, outputs)), draw.integers(-128, 128, (7, inputs))
    rows = ", ".join("{" + ", ".join(map(str, row)) + "}" for row in weights.tolist())
    source = (
        f'#include "toy.h"\nstatic const int8_t W[{inputs}][{outputs}] = {{{rows}}};\n'
        "void toy_run(const toy_input_t *x, toy_output_t *y, void *arena) {\n  (void)arena;\n"
        f"  for (int j = 0; j < {outputs}; j++) {{\n    int32_t sum = 0;\n"
        f"    for (int i = 0; i < {inputs}; i++) sum += x[i] * W[i][j];\n    y[j] = sum;\n  }}\n}}\n"
    )
    header = HEADER.format(arena=0).replace("int16_t", "int32_t")
    header = header.replace("INPUTS 3", f"INPUTS {inputs}").replace("OUTPUTS 2", f"OUTPUTS {outputs}")
    facts = {**FACTS, "input": {"shape": [inputs]}, "output": {"shape": [outputs]}, "arena_bytes": 0}
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "toy.h").write_text(header)
        (Path(name) / "toy.c").write_text(source)
        assert np.array_equal(qemu.measure(Path(name), facts, x).outputs, x @ weights)


@pytest.mark.slow
@needs_tools
@pytest.mark.parametrize("seed", range(8))
def test_the_emitted_c_of_random_graphs_computes_the_golden_integers(tmp_path, seed):
    graph = random_graph(seed)
    facts = c.emit(graph, tmp_path, c.COptions(style="loops" if seed % 2 else "auto"))
    x = vectors(graph, 20, seed)
    ran = qemu.verify(tmp_path, facts, x, evaluate.run(graph, x), tuple(cortex_m.BOARDS)[seed % 3])
    weight = cortex_m.footprint(tmp_path, facts)
    assert weight.arena_bytes == facts["arena_bytes"] and weight.constant_bytes <= facts["const_bytes"] + 64
    assert ran.instructions >= 2


# What it occupies -----------------------------------------------------------------------------------


@needs_tools
@pytest.mark.parametrize("optimise", ["-Os", "-O2"])
def test_the_footprint_is_what_binutils_count_in_the_object_file(toy, optimise):
    built = cortex_m.build(toy(), FACTS, "cortex-m4", optimise)
    done = subprocess.run([cortex_m.SIZE, built.model], capture_output=True, text=True, check=True, timeout=60)
    text, data, bss = map(int, done.stdout.splitlines()[1].split()[:3])
    weight = built.footprint
    assert (weight.flash_bytes, 0, 0) == (text, data, bss)
    assert weight.code_bytes > 0 and weight.library_bytes == 0
    assert weight.ram_bytes == 8 + weight.stack_bytes and weight.library == ()


@needs_tools
def test_constants_count_as_flash_byte_for_byte(toy):
    tables = [cortex_m.footprint(toy(table(n)), FACTS) for n in (100, 300)]
    assert [weight.constant_bytes for weight in tables] == [100, 300]
    assert tables[0].code_bytes == tables[1].code_bytes


def table(n):
    values = ", ".join(str(i % 100) for i in range(n))
    read = "(void)arena; output[0] = T[(uint8_t)input[0]]; output[1] = 0;"
    return RUN.format(read).replace('"\n', f'"\nstatic const int8_t T[{n}] = {{{values}}};\n', 1)


@needs_tools
def test_a_function_of_the_c_library_counts_as_flash_and_is_named(toy):
    divides = body("(void)arena; output[0] = (toy_output_t)(((int64_t)input[0] << 40) / (input[1] - 500LL));")
    weight = cortex_m.footprint(toy(divides), FACTS)
    assert weight.library_bytes > 100 and weight.library == ("__aeabi_ldivmod",)
    ran = qemu.measure(toy(divides), FACTS, X)
    assert ran.stack_bytes > weight.stack_bytes  # which the call graph does not see
    ram = {figure.name: figure for figure in qemu.figures(weight, ran)}["ram_bytes"]
    assert ram.value == 8 + ran.stack_bytes and ram.stage is FigureStage.SIMULATED


@needs_tools
@pytest.mark.parametrize("words", [16, 200])
def test_the_stack_reached_is_the_stack_of_the_call_graph(toy, words):
    fills = f"(void)arena; volatile int32_t a[{words}]; for (int i = 0; i < {words}; i++) a[i] = input[i % 3];"
    folder = toy(body(fills, "output[0] = (toy_output_t)a[1]; output[1] = (toy_output_t)a[2];"))
    ran, weight = qemu.measure(folder, FACTS, X), cortex_m.footprint(folder, FACTS)
    assert 4 * words <= ran.stack_bytes <= weight.stack_bytes <= 4 * words + 48


LOOP = '__asm volatile("mov r3, %0\\n1: subs r3, #1\\n bne 1b" :: "r"({n}) : "r3", "cc");'


@needs_tools
@pytest.mark.parametrize("cpu", cortex_m.BOARDS)
def test_instructions_are_counted_one_by_one(toy, cpu):
    """Two instructions a turn; a million turns more are two million instructions more, exactly."""
    counts = [
        qemu.measure(toy(body("(void)arena; (void)output;", LOOP.format(n=f"{n} + input[0]"))), FACTS, X, cpu)
        for n in (100_003, 1_100_003)  # both are one load of a constant
    ]
    assert counts[1].instructions - counts[0].instructions == 2_000_000
    assert counts[0].instructions - counts[0].least_instructions == 2 * (127 + 128)
    assert 2 * 100_130 < counts[0].instructions < 2 * 100_130 + 12


@needs_tools
def test_the_count_of_instructions_is_that_of_the_assembly(toy):
    text = '__asm("movs r3, #100\\n1: subs r3, #1\\n bne 1b\\n bx lr");'
    naked = body(text).replace("void toy_run", "__attribute__((naked)) void toy_run")
    assert qemu.measure(toy(naked), FACTS, X).instructions == 1 + 2 * 100 + 1


@needs_tools
def test_a_second_run_counts_the_same_instructions(toy):
    first, second = (qemu.measure(toy(), FACTS, X, optimise="-O2") for _ in range(2))
    assert (first.instructions, first.stack_bytes) == (second.instructions, second.stack_bytes)


@needs_tools
def test_more_instructions_than_the_timer_counts_are_not_counted_short(toy):
    counts = body("(void)arena; (void)input; (void)output;", LOOP.format(n=85_000_000))
    assert qemu.measure(toy(counts), FACTS, X[:1]).instructions is None
    counts = body("(void)arena; (void)input; (void)output;", LOOP.format(n=83_000_000))
    assert abs(qemu.measure(toy(counts), FACTS, X[:1]).instructions - 166_000_000) < 12


@needs_tools
def test_figures_say_where_they_come_from(toy):
    weight, ran = cortex_m.footprint(toy(), FACTS), qemu.measure(toy(), FACTS, X)
    found = {figure.name: figure for figure in qemu.figures(weight, ran)}
    parts = [found[f"flash_{part}_bytes"].value for part in ("code", "constants", "library")]
    assert found["flash_bytes"].value == sum(parts)
    assert found["flash_bytes"].stage is FigureStage.MEASURED and found["flash_bytes"].tool == "arm-none-eabi-gcc"
    assert found["flash_bytes"].target == "cortex-m3, -Os, object file"
    work = found["instructions"]
    assert work.stage is FigureStage.SIMULATED and work.target.startswith("cortex-m3 (mps2-an385), -Os, 4 vectors")
    assert work.value == ran.instructions > 0 and work.version[0].isdigit()


def test_instructions_beyond_the_timer_are_not_claimed():
    weight = cortex_m.Footprint(1, 2, 3, 4, 5, (), "cortex-m3", "-Os", "12")
    ran = qemu.BoardRun(np.zeros((1, 1), np.int64), 5, None, None, "cortex-m3", "-Os", "7")
    assert str(qemu.figures(weight, ran)[-1]).startswith(
        "instructions: not measured: more instructions than the board's timer counts"
    )
