"""Write the logic of a block: its stages, with registers between them, and the tables that it reads.

The operator sources in a project are copies from the installed package alkaid (LGPL), under its licence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.targets.rtl import netlist
from edgephys.targets.rtl.logic import CONSTANT, INPUT, Logic
from edgephys.targets.rtl.netlist import Module
from edgephys.targets.rtl.schedule import Schedule


def cut(program: Any, stage_of: Sequence[int], first: int, last: int) -> list[Any]:
    """Return the program of each stage; values for later stages are passed on, constants are repeated where needed.

    ``stage_of`` is the stage of each operation, at or after the stages of its operands.
    """
    needed_after = set(program.out_idxs)
    programs = []
    for stage in range(last, first - 1, -1):
        inside = [i for i, s in enumerate(stage_of) if s == stage and program.ops[i].opcode != CONSTANT]
        operands = needed_after | {source for i in inside for source in program.ops[i].addr}
        constants = sorted(i for i in operands if program.ops[i].opcode == CONSTANT)
        handed_on = program.out_idxs if stage == last else sorted(needed_after)
        needed_after = operands - set(inside) - set(constants)
        inputs = None if stage == first else sorted(needed_after)
        programs.append(_stage(program, inputs, constants + inside, handed_on, stage == last))
    return programs[::-1]


def _stage(program: Any, inputs: list[int] | None, inside: list[int], handed_on: list[int], ends: bool) -> Any:
    ops: list[Any] = []
    place: dict[int, int] = {}
    for number, i in enumerate(inputs or []):
        place[i] = len(ops)
        ops.append(program.ops[i]._replace(addr=(), opcode=INPUT, data=(number,), cost=0.0))
    for i in inside:
        place[i] = len(ops)
        ops.append(program.ops[i]._replace(addr=tuple(place[source] for source in program.ops[i].addr)))
    count = len(handed_on)
    return program._replace(
        shape=(program.shape[0] if inputs is None else len(inputs), count),
        inp_shifts=program.inp_shifts if inputs is None else [0] * len(inputs),
        out_idxs=[place[i] for i in handed_on],
        out_shifts=program.out_shifts if ends else [0] * count,
        out_negs=program.out_negs if ends else [False] * count,
        ops=ops,
    )


def text(logic: Logic, schedule: Schedule, language: str, enable: str = "") -> str:
    """Return the source of a block: combinational in one stage, else its stages with registers between them.

    ``enable`` names the clock enable of the registers, if there is one.
    """
    from alkaid.codegen.rtl import verilog_comb_logic_gen, vhdl_comb_logic_gen

    slot = schedule.slots[logic.block.name]
    stage_of = [schedule.stage_of(logic.block.name, op.latency) for op in logic.program.ops]
    programs = cut(logic.program, stage_of, slot.first, slot.last)
    write = verilog_comb_logic_gen if language == "verilog" else vhdl_comb_logic_gen
    title = netlist.remark(f"layer {', '.join(logic.block.layers)}")
    head = f"// {title}\n`timescale 1ns / 1ps\n\n" if language == "verilog" else f"-- {title}\n"
    if len(programs) == 1:
        return head + _with_tables(logic, str(write(programs[0], logic.module)), language)
    texts = [write(program, f"{logic.module}_stage_{slot.first + i}") for i, program in enumerate(programs)]
    texts.append(netlist.text(_pipeline(logic, programs, slot.first, title, enable), language))
    return head + _with_tables(logic, "\n".join(texts), language)


def _with_tables(logic: Logic, text: str, language: str) -> str:
    """Return the text of a block behind the modules of the tables that it reads, which get names of the block's own.

    alkaid's own text of a table leaves the results undefined that nothing reads. Here they are the nearest ones that
    are read, so that no tool finds an undefined bit.
    """
    from alkaid.codegen.rtl.verilog.lookup import lookup_name, lookup_ops

    tables: dict[str, str] = {}
    for op in lookup_ops(logic.program):
        name = lookup_name(logic.program, op)
        if name not in tables:
            own = f"{logic.module}_table_{len(tables)}"
            operand = logic.program.ops[op.addr[0]].qint
            entries = logic.program.lookup_tables[op.data[0]].padded_table(operand)
            tables[name] = netlist.lookup(own, _defined(entries, operand.min < 0), sum(op.qint.kif), language)
            text = text.replace(name, own)
    return "\n".join([*tables.values(), text])


def _defined(entries: Any, signed: bool) -> list[int]:
    """Return entries by address, with those that are not a number replaced by the nearest one in the operand's order.

    Addresses of negative integers are the higher half.
    """
    half = len(entries) // 2 if signed else 0
    ordered = np.roll(entries, half)
    read = np.flatnonzero(np.isfinite(ordered))
    nearest = np.abs(np.arange(len(ordered))[:, None] - [read[0], read[-1]]).argmin(1)
    filled = np.where(np.isfinite(ordered), ordered, ordered[read[[0, -1]]][nearest])
    return [int(number) for number in np.roll(filled, half)]


def _pipeline(logic: Logic, programs: list[Any], first: int, title: str, enable: str) -> Module:
    widths = [int(program.inp_kifs.sum()) for program in programs]
    wide = int(programs[-1].out_kifs.sum())
    inputs = {**({enable: 0} if enable else {}), "model_inp": widths[0]}
    module = Module(logic.module, True, inputs, {"model_out": wide}, f"{title}: its stages", enable=enable)
    source = "model_inp"
    for i, stage in enumerate(range(first, first + len(programs))):
        last = i == len(programs) - 1
        target = "model_out" if last else f"stage_{stage}_out"
        module.instances.append(
            (f"stage_{stage}", f"{logic.module}_stage_{stage}", {"model_inp": source, "model_out": target})
        )
        if not last:
            module.wires[target] = widths[i + 1]
            source = f"stage_{stage + 1}_in"
            module.register(source, target)
    return module


def operators(language: str, texts: Iterable[str]) -> dict[str, str]:
    """Return alkaid's operator sources that the texts use, by file name."""
    everything = "\n".join(texts)
    sources = every_operator(language)
    return {name: text for name, text in sources.items() if re.search(rf"\b{Path(name).stem}\b", everything)}


def every_operator(language: str) -> dict[str, str]:
    """Return all of alkaid's operator sources, by file name."""
    import alkaid

    home = Path(alkaid.__file__).parent / "codegen" / "rtl" / language / "source"
    return {path.name: path.read_text() for path in sorted(home.iterdir())}
