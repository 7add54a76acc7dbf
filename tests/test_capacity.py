"""A design fits its part, or the report says that it does not, and what would help."""

from types import SimpleNamespace

import pytest

from edgephys.core.figure import FigureStage
from edgephys.targets import capacity
from edgephys.targets.rtl import figures


@pytest.mark.parametrize(
    ("part", "luts"),
    [
        ("xcvu13p-flga2577-2-e", 1_728_000),
        ("XCVU3P-ffvc1517-2-e", 394_080),
        ("xc7k325tffg900-2", 203_800),
        ("xc7z020clg400-1", 53_200),
        ("xc7vx690tffg1761-2", 433_200),
        ("xczu7ev-ffvc1156-2-e", 230_400),
        ("xczu28dr-ffvg1517-2-e", 425_280),
        ("xcu250-figd2104-2L-e", 1_728_000),
        ("xcku115-flvb2104-2-i", 663_360),
        ("xczu1cg-sbva484-1-e", None),
        ("xcku5-a", None),
        ("LFE5U-85F-6BG381C", None),
    ],
)
def test_a_part_has_the_luts_of_its_device_or_is_not_listed(part, luts):
    assert capacity.lut6(part) == luts


@pytest.mark.parametrize(
    ("part", "lut", "share", "words"),
    [
        ("xcvu3p-ffvc1517-2-e", 39_408, 10.0, "fits; xcvu3p has 394,080 LUT"),
        ("xc7z020clg400-1", 133_000, 250.0, "does not fit: 3 times fewer LUTs would; xc7z020clg400 has 53,200 LUT"),
        ("LFE5U-85F-6BG381C", 10, None, "its LUTs are not listed here, or have 4 inputs: report --place"),
    ],
)
def test_the_report_says_which_share_of_the_part_a_design_takes_and_whether_it_fits(part, lut, share, words):
    synthesised = SimpleNamespace(cells=SimpleNamespace(lut=lut), tool="yosys", version="0")
    figure = figures.part_share(SimpleNamespace(part=part), synthesised)
    assert figure.value == share and figure.stage is FigureStage.SYNTHESISED and words in (figure.why or figure.target)
