"""Models and tools for a Cortex-M that fail: each failure is said, and nothing wrong is reported as a result."""

import shutil
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cortex_m_model import DENSE, FACTS, X, body, needs_tools, written

from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ModelError, ProjectError, ToolError, UsageError
from edgephys.targets.c import cortex_m, qemu


@pytest.fixture
def toy(tmp_path):
    return partial(written, tmp_path)


# What goes wrong ------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_tools
def test_a_model_that_hangs_is_stopped_and_says_so(toy):
    hangs = toy(body('(void)arena; while (input[0] != 77) { __asm volatile(""); } output[0] = 1;'))
    with pytest.raises(ToolError, match="'toy' on cortex-m3: qemu-system-arm was stopped after 2 s"):
        qemu.measure(hangs, FACTS, X, timeout_s=2.0)


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
        qemu.measure(toy(body("(void)arena; (void)input; (void)output;", source)), FACTS, X)


@needs_tools
def test_a_stack_that_overflows_is_said_and_overwrites_nothing(toy):
    deep = body(
        "(void)input; (void)output; (void)arena;",
        '__asm volatile("sub sp, sp, #0x20000\\n push {r0-r3}\\n pop {r0-r3}\\n add sp, sp, #0x20000");',
    )
    with pytest.raises(ToolError, match="status 70: HardFault: the stack overflowed, to 0x1ff"):
        qemu.measure(toy(deep), FACTS, X)


@needs_tools
def test_a_model_of_a_large_known_stack_gets_it(toy):
    deep = body("volatile int8_t a[1000000]; (void)arena; a[0] = input[0]; output[0] = a[0]; output[1] = 0;")
    ran = qemu.measure(toy(deep), FACTS, X)
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
        qemu.measure(toy(body("(void)input; (void)arena; output[0] = 1;", source)), FACTS, X)


@needs_tools
def test_what_the_input_type_does_not_hold_is_refused(toy):
    with pytest.raises(ToolError, match="an input is outside of the model's input type"):
        qemu.measure(toy(), FACTS, X + 1)


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
        with pytest.raises(MismatchError, match=r"Cortex-M: vectors must be integers \(1 or more, 3\), not"):
            qemu.measure(toy(), FACTS, x)
    (tmp_path / "toy.c").unlink()
    with pytest.raises(ProjectError, match=r"toy\.c is missing; emit the project again"):
        cortex_m.build(tmp_path, FACTS)


# Files and tools that lie ---------------------------------------------------------------------------


def whole(values):
    body = np.array(values, "<i8").tobytes()
    return body + qemu.TRAILER.pack(qemu.MAGIC, len(values), zlib.crc32(body), 1, 2, 3, 4, 5)


def test_outputs_are_read_only_where_they_are_whole():
    raw = whole([[1, -2], [3, 4]])
    outputs, trailer = qemu._parsed(raw, 2, (2,))
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
            qemu._parsed(bad, 2, (2,))


@pytest.mark.parametrize("name", [cortex_m.GCC, cortex_m.QEMU])
def test_a_missing_tool_says_what_to_install(toy, monkeypatch, tmp_path_factory, name):
    """On a PATH with none of them, or with a compiler alone that was used before."""
    bin_folder = tmp_path_factory.mktemp("bin")
    built = cortex_m.CompiledModel(
        Path("p"), Path("m"), cortex_m.Footprint(1, 2, 3, 4, 5, (), "cortex-m3", "-Os", "12")
    )
    if name == cortex_m.QEMU:
        monkeypatch.setattr(qemu, "build", lambda *_: built)
    monkeypatch.setenv("PATH", str(bin_folder))
    packages = {cortex_m.GCC: "gcc-arm-none-eabi libnewlib-arm-none-eabi", cortex_m.QEMU: "qemu-system-arm"}
    with pytest.raises(ToolError, match=rf"{name} is missing: install .* \(Debian: {packages[name]}\)"):
        qemu.measure(toy(), FACTS, X)


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
        qemu.measure(toy(), FACTS, X)


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
