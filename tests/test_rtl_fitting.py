"""`--ii auto`: the shortest interval at which a network fits its part, or one line that says how far it is."""

import re

import pytest
from rtl_graphs import tagger

from edgephys.core.errors import UsageError
from edgephys.targets.registry import options_of
from edgephys.targets.rtl import emit
from edgephys.targets.rtl.fitting import FULL, SYNTHESISED, fitted
from edgephys.targets.rtl.options import AUTO_II, RtlOptions

SMALL = RtlOptions(ii=AUTO_II, part="xc7a12tcpg238-1")  # 8,000 LUTs


def chosen(luts, options=SMALL):
    """Return the interval chosen where an interval has so many LUTs; one that has none changes nothing."""

    def estimate(tried):
        if tried.ii not in luts:
            raise UsageError("changes nothing")
        return luts[tried.ii]

    return fitted("net", options, estimate).ii


def test_the_shortest_interval_that_fits_is_chosen():
    most = FULL * 8000 / SYNTHESISED[6]
    assert chosen({1: most}) == 1
    assert chosen({1: most + 1, 2: most + 1, 4: most, 8: 10}) == 4
    assert chosen({1: 1e6, 8: most}) == 8  # 2 and 4 change nothing


def test_a_stated_interval_is_kept():
    assert chosen({}, RtlOptions(ii=3)) == 3


def test_a_network_that_never_fits_is_refused_with_the_nearest_interval():
    words = "'net' does not fit xc7a12tcpg238-1 at any interval: the fewest LUTs, at ii 4, are some 75,000, 938% of its"
    with pytest.raises(UsageError, match=f"{words} 8,000, of which 80% may be used; choose a larger part"):
        chosen({1: 1e6, 2: 1e5, 4: 5e4, 8: 6e4, 16: 7e4})
    with pytest.raises(UsageError, match="ii auto: no interval works for 'net'; others are refused: changes nothing"):
        chosen({})
    with pytest.raises(
        UsageError, match=r"at ii 1, .*; choose .*, or compress the network; others are refused: changes"
    ):
        chosen({1: 1e6})


def test_a_part_of_unknown_size_is_refused():
    with pytest.raises(
        UsageError, match=r"ii auto needs a part whose LUTs are known, .*, not MPF300TS; state a number"
    ):
        chosen({1: 1}, RtlOptions(ii=AUTO_II, part="MPF300TS"))


def test_an_emission_states_the_interval_that_was_chosen(tmp_path):
    graph = tagger(8)
    free = emit.estimate(graph, RtlOptions(ii=4)).lut
    roomy = emit.emit(graph, tmp_path / "one", RtlOptions(ii=AUTO_II))
    assert "ii" not in roomy  # one a clock, without a handshake
    assert emit.estimate(graph, RtlOptions(ii=AUTO_II)).lut > free


def test_auto_is_a_word_of_the_command_line_and_of_python(run, tmp_path):
    assert options_of("rtl", {"ii": "auto"}).ii == AUTO_II and options_of("rtl", {"ii": 3}).ii == 3
    with pytest.raises(UsageError, match=r"ii must be 1\.\.4096 clocks, or auto, not 5000"):
        options_of("rtl", {"ii": 5000})
    helped = re.sub(r"\s+", " ", run("emit", "--help").out)
    assert "<int>|auto" in helped and "fit the part" in helped
    ended = run("emit", tmp_path / "none", "--to", "rtl", "--ii", "soon")
    assert ended.status == 2 and "soon" in ended.err and len(ended.err.strip().splitlines()) == 1
