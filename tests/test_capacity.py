"""A design fits its part, or the report says that it does not, and what would help."""

from types import SimpleNamespace

import pytest

from edgephys.core.errors import UsageError
from edgephys.core.figure import FigureStage
from edgephys.targets import capacity
from edgephys.targets.capacity import Capacity
from edgephys.targets.parts import check_part
from edgephys.targets.rtl import emit, figures
from edgephys.targets.rtl.cells import Cells


@pytest.mark.parametrize(
    ("part", "luts"),
    [
        ("xcvu13p-flga2577-2-e", 1_728_000),
        ("XCVU3P-ffvc1517-2-e", 394_080),
        ("xcvu13p", 1_728_000),
        ("xc7k325tffg900-2", 203_800),
        ("xc7z020clg400-1", 53_200),
        ("xc7vx690tffg1761-2", 433_200),
        ("xczu3eg-sbva484-1-e", 70_560),
        ("xczu3teg-sfvc784-1-e", 72_000),
        ("xczu7ev-ffvc1156-2-e", 230_400),
        ("xczu28dr-ffvg1517-2-e", 425_280),
        ("xcu250-figd2104-2L-e", 1_728_000),
        ("xcku115-flvb2104-2-i", 663_360),
        ("LFE5U-85F-6BG381C", 83_640),
        ("LFE5U-25F", 24_288),
    ],
)
def test_a_part_has_the_luts_of_its_device_with_or_without_a_package(part, luts):
    assert capacity.capacity_of(part).lut == luts


@pytest.mark.parametrize("part", ["xczu1cg-sbva484-1-e", "xcku5-a", "LFE5U-12F-6BG256C", "MPF300TS-1FCG1152I"])
def test_a_part_that_is_not_listed_has_no_capacity(part):
    assert capacity.capacity_of(part) is None


def test_capacities_are_of_the_kind_of_the_family():
    assert capacity.capacity_of("xcvu13p-flga2577-2-e") == Capacity(1_728_000, 6, 3_456_000, 12_288, 5_376)
    assert capacity.capacity_of("xc7z020clg400-1") == Capacity(53_200, 6, 106_400, 220, 280)
    assert capacity.capacity_of("LFE5U-45F-7BG256C") == Capacity(43_848, 4, 43_848, 72, 108)


def shares(part, monkeypatch, ii=16, **cells):
    """Return the figures of a design of some cells on a part, by name; ``ii`` is the interval that would fit."""
    synthesised = SimpleNamespace(cells=Cells(**cells), tool="yosys", version="0")

    def estimated(graph, options):
        if ii is None:
            raise UsageError("does not fit at any interval")
        assert options.ii == 0 and options.part == part
        return emit.Estimate(1.0, 1, ii)

    monkeypatch.setattr(emit, "estimate", estimated)
    options = {"part": part, "clock_ns": 5.0, "an_option_of_another_release": 1}
    project = SimpleNamespace(part=part, graph=SimpleNamespace(name="net"), options=options)
    return {figure.name: figure for figure in figures.part_shares(project, synthesised)}


def test_the_report_says_which_share_of_each_resource_a_design_takes(monkeypatch):
    of = shares("xcvu3p-ffvc1517-2-e", monkeypatch, lut=39_408, ff=78_816, dsp=228, bram=288)
    assert {name: figure.value for name, figure in of.items()} == {
        "lut_share": 10.0, "ff_share": 10.0, "dsp_share": 10.0, "bram_share": 20.0,
    }  # fmt: skip
    assert of["lut_share"].target == "fits; xcvu3p has 394,080 LUT"
    assert all(figure.stage is FigureStage.SYNTHESISED for figure in of.values())


def test_a_design_that_does_not_fit_is_told_with_its_share_and_the_interval_that_would(monkeypatch):
    of = shares("xc7z020clg400-1", monkeypatch, lut=73_416, dsp=330)
    assert of["lut_share"].target == "does not fit: 138 % of the LUT; --ii 16 would; xc7z020clg400 has 53,200 LUT"
    assert of["dsp_share"].target == "does not fit: 150 % of the DSP; xc7z020clg400 has 220 DSP"
    of = shares("xc7z020clg400-1", monkeypatch, ii=None, lut=73_416)
    assert "138 % of the LUT; no --ii makes it fit;" in of["lut_share"].target


@pytest.mark.parametrize(
    ("part", "target"),
    [
        ("xc7z020clg400-1", "xc7z020clg400-1; 138.0% of 53,200"),
        ("LFE5U-85F-6BG381C", "LFE5U-85F-6BG381C"),
    ],
)
def test_the_estimate_states_its_share_of_a_part_with_the_same_luts(part, target):
    facts = {"lut_estimate": 73_416.0, "io": "parallel"}
    (figure,) = figures.estimates(SimpleNamespace(part=part, facts=facts, versions={"alkaid": "0"}))
    assert figure.target == target and figure.value == 73_416


def test_a_part_of_other_luts_has_no_share_of_these(monkeypatch):
    (figure,) = shares("LFE5U-85F-6BG381C", monkeypatch, lut=10).values()
    assert figure.value is None and "its LUTs are not listed here, or have 4 inputs: report --place" in figure.why


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("xcvu13p-flga2577-9-e", "AMD Virtex UltraScale and UltraScale+ has the speed grades 1, 2, 3, not 9; such as"),
        (
            "xc7k325tffg900-7",
            "AMD 7 series and Zynq 7000 has the speed grades 1, 2, 3, not 7; such as xc7k325tffg900-2",
        ),
        ("LFE5U-85F-5BG381C", "Lattice ECP5 has the speed grades 6, 7, 8, not 5; such as LFE5UM5G-85F-8BG381C"),
        ("MPF300TS-2FCG1152I", "Microchip PolarFire has the speed grades 1, not 2"),
    ],
)
def test_an_unknown_speed_grade_is_refused(part, message):
    with pytest.raises(UsageError) as refused:
        check_part(part)
    assert f"part '{part}': {message}" in str(refused.value)


@pytest.mark.parametrize(
    "part", ["xcvu13p", "xcvu13p-flga2577", "xc7a35t", "xc7a35ticsg324-1L", "LFE5U-45F", "MPF300TS"]
)
def test_a_part_without_package_or_speed_grade_is_understood(part):
    check_part(part)


def test_a_vendors_tool_must_have_the_package_and_the_speed_grade():
    with pytest.raises(
        UsageError, match="part 'xcvu13p': Vitis must have its package and speed grade, such as xcvu13p-flga"
    ):
        check_part("xcvu13p", "Vitis")
