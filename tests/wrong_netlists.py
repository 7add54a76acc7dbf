"""Netlists that are not what Yosys wrote: a text of one module is replaced after synthesis."""

import dataclasses

from edgephys.targets.rtl import synth


def replace_in_module(monkeypatch, folder, module, before, after, most=-1):
    """Let synthesis return a module's netlist with ``before``, which must be there, replaced at most ``most`` times."""
    synthesise = synth.synthesise

    def with_fault(*words, **options):
        design = synthesise(*words, **options)
        part = design.per_module[module]
        text = part.netlist.read_text()
        assert before in text
        wrong = folder / "wrong.v"
        wrong.write_text(text.replace(before, after, most))
        parts = {**design.per_module, module: dataclasses.replace(part, netlist=wrong)}
        return dataclasses.replace(design, per_module=parts)

    monkeypatch.setattr(synth, "synthesise", with_fault)
