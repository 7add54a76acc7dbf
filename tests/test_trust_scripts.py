"""No name, file or pipeline of somebody else runs a script."""

from pathlib import Path

import pytest

from edgephys.core.errors import ModelError, ToolError, UsageError

ROOT = Path(__file__).parent.parent


def test_no_name_of_a_module_or_file_breaks_into_yosys_script(tmp_path):
    from edgephys.targets.rtl import place, synth, yosys

    source = tmp_path / "a.v"
    source.write_text("module a (input x, output y); assign y = x; endmodule")
    for work in (synth.synthesise, place.place):
        with pytest.raises(ToolError, match="yosys takes no module of this name: module must be an identifier"):
            work([source], "a\nshell id")
    with pytest.raises(ToolError, match="yosys takes no file of this name"):
        yosys.read_verilog([tmp_path / 'a"\nshell id.v'])


def test_a_pipeline_runs_no_script_but_ours_and_those_named_on_the_command_line(tmp_path, run, model, few_jets):
    from edgephys.compress.pipeline_file import read as read_pipeline

    script, pipeline = tmp_path / "student.py", tmp_path / "p.toml"
    script.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    pipeline.write_text('[[stage]]\nkind = "distil"\nscript = "student.py"\n')
    ended = run("compress", model, pipeline, "--data", few_jets, "--out", tmp_path / "out")
    assert ended.status == 2 and "is a program that would be run" in ended.err and "--run-script" in ended.err
    assert not (tmp_path / "ran").exists()
    assert read_pipeline(pipeline, [script]).stages[0].script == str(script)
    read_pipeline(ROOT / "compress" / "alone" / "distil_alone.toml")
    knob = '[knob]\nstage = 1\nkey = "script"\nvalues = ["student.py"]\n'
    pipeline.write_text('[[stage]]\nkind = "distil"\n' + knob)
    with pytest.raises(UsageError, match="is a program that would be run"):
        read_pipeline(pipeline)


def test_a_keras_file_with_code_in_it_is_refused(tmp_path):
    from edgephys.models.trained import load_keras
    from edgephys.networks.backend import keras

    x = keras.Input((2,))
    keras.Model(x, keras.layers.Lambda(lambda y: y + 1)(x)).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match="it holds a Lambda or pickled code, which would run on loading"):
        load_keras(tmp_path / "model.keras")
