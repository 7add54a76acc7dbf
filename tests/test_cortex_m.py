"""Generated C on a Cortex-M: the integers of the golden model, sizes as binutils counts them, every failure said."""

import shutil
import subprocess
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph, vectors

from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ModelError, ProjectError, ToolError, UsageError
from edgephys.core.figure import FigureStage
from edgephys.graph import evaluate
from edgephys.targets.c import cortex_m
from edgephys.targets.c import emit as c

here = all(shutil.which(name) for name in (cortex_m.GCC, cortex_m.SIZE, cortex_m.QEMU))
needs_tools = pytest.mark.skipif(not here, reason="needs arm-none-eabi-gcc and qemu-system-arm")

WEIGHTS = np.array([[3, -5], [-7, 11], [13, -2]])
BIAS = np.array([100, -40])

HEADER = """\
#ifndef TOY_H
#define TOY_H
#include <stdint.h>
#define TOY_INPUTS 3
#define TOY_OUTPUTS 2
#define TOY_ARENA_BYTES {arena}
typedef int8_t toy_input_t;
typedef int16_t toy_output_t;
void toy_run(const toy_input_t *input, toy_output_t *output, void *arena);
#endif
"""
DENSE = """\
#include "toy.h"
static const int8_t WEIGHTS[3][2] = {{3, -5}, {-7, 11}, {13, -2}};
static const int16_t BIAS[2] = {100, -40};
void toy_run(const toy_input_t *input, toy_output_t *output, void *arena) {
    int32_t *sums = arena;
    for (int j = 0; j < 2; j++) {
        sums[j] = BIAS[j];
        for (int i = 0; i < 3; i++)
            sums[j] += input[i] * WEIGHTS[i][j];
    }
    for (int j = 0; j < 2; j++)
        output[j] = (toy_output_t)sums[j];
}
"""
FACTS = {
    "prefix": "toy",
    "input": {"shape": [3]},
    "output": {"shape": [2]},
    "arena_bytes": 8,
}
RUN = '#include "toy.h"\nvoid toy_run(const toy_input_t *input, toy_output_t *output, void *arena) {{ {} }}\n'
X = np.array([[1, 2, 3], [-128, 127, -128], [127, -128, 127], [0, 0, 0]])


def golden(x):
    return x @ WEIGHTS + BIAS


@pytest.fixture
def toy(tmp_path):
    """Write a model that follows the contract: toy(source) returns its folder."""

    def write(source=DENSE, arena=8):
        (tmp_path / "toy.h").write_text(HEADER.format(arena=arena))
        (tmp_path / "toy.c").write_text(source)
        return tmp_path

    return write


def body(*statements):
    return RUN.format(" ".join(statements))


# What it computes -----------------------------------------------------------------------------------


@needs_tools
@pytest.mark.parametrize("cpu", cortex_m.BOARDS)
def test_a_model_computes_the_golden_integers_on_every_processor(toy, cpu):
    ran = cortex_m.verify(toy(), FACTS, X, golden(X), cpu)
    assert np.array_equal(ran.outputs, golden(X)) and ran.outputs.dtype == np.int64
    assert np.array_equal(cortex_m.run(toy(), FACTS, X[:1], cpu), golden(X[:1]))


@needs_tools
def test_one_wrong_golden_integer_is_found_and_named(toy):
    wrong = golden(X)
    wrong[2, 1] += 1
    expected = (
        rf"'toy' on cortex-m3: vector 2, output \(1,\): golden model {wrong[2, 1]}, qemu {wrong[2, 1] - 1}; 1 of 8"
    )
    with pytest.raises(MismatchError, match=expected):
        cortex_m.verify(toy(), FACTS, X, wrong)
    with pytest.raises(MismatchError, match=r"golden outputs must be \(4, 2\), not \(4, 1\)"):
        cortex_m.verify(toy(), FACTS, X, wrong[:, :1])


@needs_tools
def test_one_wrong_weight_is_found(toy):
    with pytest.raises(MismatchError, match="vector 0, output"):
        cortex_m.verify(toy(DENSE.replace("{13, -2}", "{13, -3}")), FACTS, X, golden(X))


@needs_tools
def test_constants_of_64_bits_survive_start_up_and_the_way_back(toy):
    folder = toy(body("(void)arena; output[0] = -9000000000000000001; output[1] = input[0] * 4000000000LL;"))
    text = (folder / "toy.h").read_text().replace("int16_t", "int64_t")
    (folder / "toy.h").write_text(text)
    assert cortex_m.run(folder, FACTS, X[1:2]).tolist() == [[-9000000000000000001, -512000000000]]


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
        assert np.array_equal(cortex_m.run(Path(name), facts, x), x @ weights)


@pytest.mark.slow
@needs_tools
@pytest.mark.parametrize("seed", range(8))
def test_the_emitted_c_of_random_graphs_computes_the_golden_integers(tmp_path, seed):
    graph = random_graph(seed)
    facts = c.emit(graph, tmp_path, c.COptions(style="loops" if seed % 2 else "auto"))
    x = vectors(graph, 20, seed)
    ran = cortex_m.verify(tmp_path, facts, x, evaluate.run(graph, x), tuple(cortex_m.BOARDS)[seed % 3])
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
    ran = cortex_m.measure(toy(divides), FACTS, X)
    assert ran.stack_bytes > weight.stack_bytes  # which the call graph does not see
    ram = {figure.name: figure for figure in cortex_m.figures(weight, ran)}["ram_bytes"]
    assert ram.value == 8 + ran.stack_bytes and ram.stage is FigureStage.SIMULATED


@needs_tools
@pytest.mark.parametrize("words", [16, 200])
def test_the_stack_reached_is_the_stack_of_the_call_graph(toy, words):
    fills = f"(void)arena; volatile int32_t a[{words}]; for (int i = 0; i < {words}; i++) a[i] = input[i % 3];"
    folder = toy(body(fills, "output[0] = (toy_output_t)a[1]; output[1] = (toy_output_t)a[2];"))
    ran, weight = cortex_m.measure(folder, FACTS, X), cortex_m.footprint(folder, FACTS)
    assert 4 * words <= ran.stack_bytes <= weight.stack_bytes <= 4 * words + 48


LOOP = '__asm volatile("mov r3, %0\\n1: subs r3, #1\\n bne 1b" :: "r"({n}) : "r3", "cc");'


@needs_tools
@pytest.mark.parametrize("cpu", cortex_m.BOARDS)
def test_instructions_are_counted_one_by_one(toy, cpu):
    """Two instructions a turn; a million turns more are two million instructions more, exactly."""
    counts = [
        cortex_m.measure(toy(body("(void)arena; (void)output;", LOOP.format(n=f"{n} + input[0]"))), FACTS, X, cpu)
        for n in (100_003, 1_100_003)  # both are one load of a constant
    ]
    assert counts[1].instructions - counts[0].instructions == 2_000_000
    assert counts[0].instructions - counts[0].least_instructions == 2 * (127 + 128)
    assert 2 * 100_130 < counts[0].instructions < 2 * 100_130 + 12


@needs_tools
def test_the_count_of_instructions_is_that_of_the_assembly(toy):
    text = '__asm("movs r3, #100\\n1: subs r3, #1\\n bne 1b\\n bx lr");'
    naked = body(text).replace("void toy_run", "__attribute__((naked)) void toy_run")
    assert cortex_m.measure(toy(naked), FACTS, X).instructions == 1 + 2 * 100 + 1


@needs_tools
def test_a_second_run_counts_the_same_instructions(toy):
    first, second = (cortex_m.measure(toy(), FACTS, X, optimise="-O2") for _ in range(2))
    assert (first.instructions, first.stack_bytes) == (second.instructions, second.stack_bytes)


@needs_tools
def test_more_instructions_than_the_timer_counts_are_not_counted_short(toy):
    counts = body("(void)arena; (void)input; (void)output;", LOOP.format(n=85_000_000))
    assert cortex_m.measure(toy(counts), FACTS, X[:1]).instructions is None
    counts = body("(void)arena; (void)input; (void)output;", LOOP.format(n=83_000_000))
    assert abs(cortex_m.measure(toy(counts), FACTS, X[:1]).instructions - 166_000_000) < 12


@needs_tools
def test_figures_say_where_they_come_from(toy):
    weight, ran = cortex_m.footprint(toy(), FACTS), cortex_m.measure(toy(), FACTS, X)
    found = {figure.name: figure for figure in cortex_m.figures(weight, ran)}
    parts = [found[f"flash_{part}_bytes"].value for part in ("code", "constants", "library")]
    assert found["flash_bytes"].value == sum(parts)
    assert found["flash_bytes"].stage is FigureStage.MEASURED and found["flash_bytes"].tool == "arm-none-eabi-gcc"
    assert found["flash_bytes"].target == "cortex-m3, -Os, object file"
    work = found["instructions"]
    assert work.stage is FigureStage.SIMULATED and work.target.startswith("cortex-m3 (mps2-an385), -Os, 4 vectors")
    assert work.value == ran.instructions > 0 and work.version[0].isdigit()


def test_instructions_beyond_the_timer_are_not_claimed():
    weight = cortex_m.Footprint(1, 2, 3, 4, 5, (), "cortex-m3", "-Os", "12")
    ran = cortex_m.BoardRun(np.zeros((1, 1), np.int64), 5, None, None, 8, "cortex-m3", "-Os", "7")
    assert str(cortex_m.figures(weight, ran)[-1]).startswith(
        "instructions: not measured: more instructions than the board's timer counts"
    )


# What goes wrong ------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_tools
def test_a_model_that_hangs_is_stopped_and_says_so(toy):
    hangs = toy(body('(void)arena; while (input[0] != 77) { __asm volatile(""); } output[0] = 1;'))
    with pytest.raises(ToolError, match="'toy' on cortex-m3: qemu-system-arm was stopped after 2 s"):
        cortex_m.measure(hangs, FACTS, X, timeout_s=2.0)


@needs_tools
@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("((void (*)(void))(0 * input[0]))();", "jump to an address that holds no code, pc 0x00000000"),
        ("*(volatile int *)0x40 = 1;", "protected memory accessed, pc 0x0000"),
        ("output[0] = *(volatile int16_t *)0x90000000;", "data accessed where no memory is, pc .*0x90000000"),
        ("output[0] = (int16_t)*(volatile int32_t *)((char *)arena + 1);", "unaligned access, pc"),
        ("output[0] = (int16_t)(7 / (volatile int){0});", "division by 0, pc"),
        ("__builtin_trap();", "undefined instruction, pc"),
    ],
)
def test_a_model_that_faults_says_which_fault_and_where(toy, source, why):
    if "void (*)" in source:  # a call by pointer has no proven stack, and thus is refused before it faults
        source = '__asm volatile("movs r3, #0\\n blx r3" ::: "r3", "lr", "memory");'
    with pytest.raises(ToolError, match=f"'toy' on cortex-m3: qemu-system-arm ended with status 70: HardFault: {why}"):
        cortex_m.run(toy(body("(void)arena; (void)input; (void)output;", source)), FACTS, X)


@needs_tools
def test_a_stack_that_overflows_is_said_and_overwrites_nothing(toy):
    deep = body(
        "(void)input; (void)output; (void)arena;",
        '__asm volatile("sub sp, sp, #0x20000\\n push {r0-r3}\\n pop {r0-r3}\\n add sp, sp, #0x20000");',
    )
    with pytest.raises(ToolError, match="status 70: HardFault: the stack overflowed, to 0x1ff"):
        cortex_m.run(toy(deep), FACTS, X)


@needs_tools
def test_a_model_of_a_large_known_stack_gets_it(toy):
    deep = body("volatile int8_t a[1000000]; (void)arena; a[0] = input[0]; output[0] = a[0]; output[1] = 0;")
    ran = cortex_m.measure(toy(deep), FACTS, X)
    assert ran.outputs[:, 0].tolist() == X[:, 0].tolist() and ran.stack_bytes >= 1_000_000


@needs_tools
@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("((char *)arena)[8] = 1;", "wrote above its arena"),
        ("((char *)arena)[-1] = 1;", "wrote below its arena"),
        ("output[2] = 1;", "wrote above its output"),
    ],
)
def test_a_model_that_writes_outside_its_memory_is_caught(toy, source, why):
    with pytest.raises(ToolError, match=f"ended with status 65: the model {why}"):
        cortex_m.run(toy(body("(void)input; (void)arena; output[0] = 1;", source)), FACTS, X)


@needs_tools
def test_what_the_input_type_does_not_hold_is_refused(toy):
    with pytest.raises(ToolError, match="an input is outside of the model's input type"):
        cortex_m.run(toy(), FACTS, X + 1)


@needs_tools
def test_a_model_larger_than_the_board_is_refused_with_both_sizes(toy):
    big = "#include <stdint.h>\nstatic const int8_t T[5000000] = {1};\n" + body(
        "(void)arena; output[0] = T[input[0] + 128];"
    )
    with pytest.raises(
        ModelError, match=r"on cortex-m4: needs 5,000,\d{3} bytes of flash, and mps2-an386 has 4,194,304"
    ):
        cortex_m.build(toy(big), FACTS, "cortex-m4")
    with pytest.raises(ModelError, match=r"needs 5,000,\d{3} bytes of RAM, and mps2-an385 has 4,194,304"):
        cortex_m.build(toy(arena=5_000_000), {**FACTS, "arena_bytes": 5_000_000})
    just_too_big = 4_194_304 - 10_000  # less than the board has, more than its stack leaves
    with pytest.raises(ModelError, match=r"needs, with what runs it, \d\d,\d{3} bytes of RAM more than mps2-an385 has"):
        cortex_m.build(toy(arena=just_too_big), {**FACTS, "arena_bytes": just_too_big})


@needs_tools
@pytest.mark.parametrize(
    ("statement", "where"), [("static int calls;", 4), ("static int8_t calls = 3;", 1), ("static int calls[9];", 36)]
)
def test_a_model_that_keeps_state_is_refused(toy, statement, where):
    name = "calls[8]" if "[9]" in statement else "calls"
    keeps = body(f"{statement} (void)arena; output[0] = (toy_output_t){name}++;")
    with pytest.raises(ModelError, match=f"must keep no state, and it holds {where} bytes"):
        cortex_m.build(toy(keeps), FACTS)


@needs_tools
@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"input": {"shape": [4]}}, "input size of header and manifest differ"),
        ({"output": {"shape": [1]}}, "output size of header and manifest differ"),
        ({"arena_bytes": 16}, "arena bytes of header and manifest differ"),
    ],
)
def test_a_header_that_contradicts_the_manifest_is_refused(toy, facts, why):
    with pytest.raises(ToolError, match=f"'toy' on cortex-m3: arm-none-eabi-gcc ended with status 1: .*{why}"):
        cortex_m.build(toy(), {**FACTS, **facts})


@needs_tools
def test_c_that_does_not_compile_names_the_line_and_leaves_no_build(toy):
    for _ in range(2):
        with pytest.raises(ToolError, match=r"toy\.c:4:\d+: error"):
            cortex_m.build(toy(DENSE.replace("void toy_run(", "void toy_run(nothing ")), FACTS)


@needs_tools
def test_a_change_of_one_byte_is_compiled_anew_and_nothing_else_is(toy, monkeypatch):
    first = cortex_m.build(toy(), FACTS)
    monkeypatch.setattr(tools, "run", lambda *_: pytest.fail("compiled again"))
    assert cortex_m.build(toy(), FACTS) == first
    with pytest.raises(pytest.fail.Exception, match="compiled again"):
        cortex_m.build(toy(DENSE + "\n"), FACTS)


def test_options_and_vectors_out_of_range_are_refused(toy, tmp_path):
    with pytest.raises(UsageError, match="processor must be one of cortex-m3, cortex-m4, cortex-m7, not 'avr'"):
        cortex_m.build(toy(), FACTS, "avr")
    with pytest.raises(UsageError, match="optimisation must be one of -Os, -O1, -O2, -O3, not '-Ofast'"):
        cortex_m.build(toy(), FACTS, optimise="-Ofast")
    for x in (X[:0], X[:, :2], X[0], X * 0.5, np.array(3)):
        with pytest.raises(MismatchError, match=r"vectors must be integers \(1 or more, \*\(3,\)\), not"):
            cortex_m.run(toy(), FACTS, x)
    (tmp_path / "toy.c").unlink()
    with pytest.raises(ProjectError, match=r"toy\.c is missing; emit the project again"):
        cortex_m.build(tmp_path, FACTS)


# Files and tools that lie ---------------------------------------------------------------------------


def whole(values):
    body = np.array(values, "<i8").tobytes()
    return body + cortex_m.TRAILER.pack(cortex_m.MAGIC, len(values), zlib.crc32(body), 1, 2, 3, 4, 5)


def test_outputs_are_read_only_where_they_are_whole():
    raw = whole([[1, -2], [3, 4]])
    outputs, trailer = cortex_m._parsed(raw, 2, (2,))
    assert outputs.tolist() == [[1, -2], [3, 4]] and trailer[3:] == (1, 2, 3, 4, 5)
    for bad, why in (
        (b"", "qemu wrote 0 bytes; 64 are expected of 2 vectors"),
        (raw[:-1], "qemu wrote 63 bytes"),
        (raw + b"\0", "qemu wrote 65 bytes"),
        (bytes([raw[0] ^ 1]) + raw[1:], "have the checksum"),
        (raw[:32] + b"\0" + raw[33:], "end in 0x45444700 and 2 vectors, not 2"),
        (raw[:36] + b"\3" + raw[37:], "and 3 vectors, not 2"),
    ):
        with pytest.raises(MismatchError, match=why):
            cortex_m._parsed(bad, 2, (2,))


@pytest.mark.parametrize("name", [cortex_m.GCC, cortex_m.QEMU])
def test_a_missing_tool_says_what_to_install(toy, monkeypatch, tmp_path_factory, name):
    """On a PATH with none of them, or with a compiler alone that was used before."""
    bin_folder = tmp_path_factory.mktemp("bin")
    built = cortex_m.CompiledModel(
        Path("p"), Path("m"), cortex_m.Footprint(1, 2, 3, 4, 5, (), "cortex-m3", "-Os", "12")
    )
    if name == cortex_m.QEMU:
        monkeypatch.setattr(cortex_m, "build", lambda *_: built)
    monkeypatch.setenv("PATH", str(bin_folder))
    packages = {cortex_m.GCC: "gcc-arm-none-eabi libnewlib-arm-none-eabi", cortex_m.QEMU: "qemu-system-arm"}
    with pytest.raises(ToolError, match=rf"{name} is missing: install .* \(Debian: {packages[name]}\)"):
        cortex_m.run(toy(), FACTS, X)


def test_doctor_lists_the_tools_of_microcontrollers_as_optional(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {tool["name"]: tool for tool in tools.installed_tools()}
    for name in ("arm-none-eabi-gcc", "qemu-system-arm", "clang"):
        assert not found[name]["needed"] and found[name]["version"] is None and "Debian: " in found[name]["install"]


@needs_tools
@pytest.mark.parametrize(("script", "why"), [("exit 0", "qemu wrote 0 bytes"), ("echo lost; exit 3", "status 3: lost")])
def test_a_qemu_that_ends_early_is_an_error(toy, monkeypatch, tmp_path, script, why):
    cortex_m.build(toy(), FACTS)
    fake = tmp_path / "qemu-system-arm"
    fake.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo QEMU emulator version 0 && exit 0\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv(
        "PATH", f"{tmp_path}:{Path(shutil.which('sh')).parent}:{Path(shutil.which('arm-none-eabi-gcc')).parent}"
    )
    with pytest.raises((ToolError, MismatchError), match=f"'toy' on cortex-m3: .*{why}"):
        cortex_m.run(toy(), FACTS, X)


# Stacks without a bound --------------------------------------------------------------------------------


@needs_tools
@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("static int f(int n) { return n ? n * f(n / 2) + f(n / 3) : 1; }", "function '.*f' calls itself"),
        ("static int f(int n) { volatile char a[n]; a[0] = 1; return a[0]; }", "function '.*' must be of a fixed size"),
        ("int (*volatile g)(int); static int f(int n) { return g(n); }", "must keep no state|calls by pointer"),
    ],
)
def test_gcc_reports_what_has_no_bound(toy, source, why):
    text = body("(void)arena; output[0] = (toy_output_t)f(input[0]);").replace('"\n', f'"\n{source}\n', 1)
    with pytest.raises(ModelError, match=why):
        cortex_m.build(toy(text), FACTS)
