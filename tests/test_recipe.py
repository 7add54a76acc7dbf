"""A pipeline's file: every key is checked before anything runs, and what is wrong is said in one line."""

import pytest

from edgephys.compress.pipeline_file import read
from edgephys.compress.registry import stage_classes
from edgephys.core.errors import UsageError


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return write


def test_stages_come_in_the_order_of_the_file_with_their_parameters(file):
    made = read(file('[[stage]]\nkind = "bitwise"\nlut_cost = 1e-6\nbits = {phi_1 = 6}\n[[stage]]\nkind = "untie"\n'))
    assert made.name == "mine" and [stage.kind for stage in made.stages] == ["bitwise", "untie"]
    assert made.stages[0] == stage_classes()["bitwise"](lut_cost=1e-6, bits={"phi_1": 6})


def test_teachers_stand_relative_to_the_file(file, tmp_path):
    made = read(file('[[stage]]\nkind = "finetune"\nteacher = ["../zoo/one"]\n'))
    assert made.stages[0].teacher == (str(tmp_path / "../zoo/one"),)


def test_a_knob_takes_its_values_one_after_another(file):
    made = read(file('[[stage]]\nkind = "frugal"\n[knob]\nstage = 1\nkey = "lut_cost"\nvalues = [1e-7, 1e-6]\n'))
    assert [made.with_knob_at(value).stages[0].lut_cost for value in made.knob.values] == [1e-7, 1e-6]


FRUGAL = '[[stage]]\nkind = "frugal"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[stage]", r"mine.toml: expected TOML with \[\[stage\]\] tables, found: .*cut short"),
        ("", r"expected \[\[stage\]\] tables, one or more, and at most a \[knob\], found none"),
        ("stage = 3", "found none"),
        ("[[step]]\nkind='untie'", "found the key 'step'"),
        ('[[stage]]\nkind = "melt"', "stage 1: kind must be one of .*untie.*, not 'melt'"),
        ("[[stage]]\nepochs = 2", "stage 1: kind must be one of .*, not None"),
        ('[[stage]]\nkind = "untie"\nepochs = 2', r"stage 1 \(untie\): no key 'epochs'; it has no keys"),
        (FRUGAL + "densty = 2", r"stage 1 \(frugal\): no key 'densty'; it has .*lut_cost"),
        (FRUGAL + 'epochs = "ten"', "epochs must be a whole number, not 'ten'"),
        (FRUGAL + "epochs = true", "epochs must be a whole number, not True"),
        (FRUGAL + "lut_cost = 'x'", "lut_cost must be a number, not 'x'"),
        (FRUGAL + "teacher = 'x'", "teacher must be a list of words, not 'x'"),
        (FRUGAL + "keep = 3", "keep must be a word, not 3"),
        (FRUGAL + "epochs = 0", r"stage 1 \(frugal\): epochs must be 1 or more, not 0"),
        (FRUGAL + "lut_cost = 0", "lut_cost must be above 0, not 0"),
        ('[[stage]]\nkind = "bitwise"\nbits = 40', r"bits of all layers must be 2..16, or 0, not 40"),
        ('[[stage]]\nkind = "bitwise"\nbits = {a = "x"}', "bits must be a whole number or a table of name = a whole"),
        (FRUGAL + "[knob]\nstage = 1", r"\[knob\] must have the keys stage, key, values"),
        (FRUGAL + "[knob]\nstage = 2\nkey = 'epochs'\nvalues = [1]", r"\[knob\]: stage must be 1..1, not 2"),
        (FRUGAL + "[knob]\nstage = 1\nkey = 'x'\nvalues = [1]", "stage 1 has no key 'x'; it has"),
        (FRUGAL + "[knob]\nstage = 1\nkey = 'epochs'\nvalues = [1, 1]", "values must be a list of different values"),
        (FRUGAL + "[knob]\nstage = 1\nkey = 'epochs'\nvalues = [0]", "epochs must be 1 or more, not 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(file, text, message):
    with pytest.raises(UsageError, match=message) as refused:
        read(file(text))
    assert "\n" not in str(refused.value).strip()


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no such pipeline; compress/ holds them"):
        read(tmp_path / "none.toml")


def test_a_pipeline_without_a_knob_cannot_be_turned(file):
    with pytest.raises(UsageError, match=r"it has no \[knob\] to turn"):
        read(file(FRUGAL)).with_knob_at(1)
