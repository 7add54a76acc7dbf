"""A stage is as long as meets the clock on its part; ECP5 is calibrated against the kept table of routed designs."""

import json
from pathlib import Path

import pytest

from edgephys.targets.delays import FIXED_NS, SLOPE, stage_ns
from edgephys.targets.rtl.options import RtlOptions

TABLE = Path(__file__).parent.parent / "hls_projects" / "results" / "pipelining.json"
ECP5 = "LFE5U-25F-6BG381C"


def test_the_delays_of_ecp5_are_those_of_the_routed_designs_within_the_stated_error():
    rows = json.loads(TABLE.read_text())["rows"]
    ratios = [1000 / row["fmax_mhz"] / (FIXED_NS + SLOPE * row["cutoff_ns"]) for row in rows]
    assert len(rows) == 6 and (round(min(ratios), 3), round(max(ratios), 2)) == (0.976, 1.04)


@pytest.mark.parametrize("clock_ns", [10.0, 20.0, 40.0])
def test_a_stage_of_ecp5_takes_the_clock_with_what_is_fixed(clock_ns):
    assert FIXED_NS + SLOPE * stage_ns(ECP5, clock_ns) == pytest.approx(clock_ns)
    assert RtlOptions(part=ECP5, clock_ns=clock_ns).stage_ns == stage_ns(ECP5, clock_ns)


def test_other_parts_and_a_stated_cutoff_are_as_before():
    assert RtlOptions(clock_ns=4.0).stage_ns == 4.0
    assert RtlOptions(part=ECP5, clock_ns=20.0, cutoff_ns=9.0).stage_ns == 9.0


def test_a_clock_that_no_stage_meets_gets_short_stages():
    assert stage_ns(ECP5, 5.0) == 0.5
