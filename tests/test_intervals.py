"""The table of initiation intervals: rows of projects, beside those at an interval of 1."""

import json

import pytest


@pytest.fixture(scope="module")
def reported(model, run, tmp_path_factory):
    """Projects of a small tagger at two intervals, the first one reported without synthesis."""
    home = tmp_path_factory.mktemp("intervals")
    for ii in (2, 4):
        folder = home / f"ii{ii}"
        done = run("emit", model, "--to", "rtl", "--ii", ii, "--vectors", 20, "--out", folder)
        assert done.status == 0, done.err
    assert run("verify", home / "ii2").status == 0
    assert run("report", home / "ii2", "--no-synth").status == 0
    return home


@pytest.mark.slow
def test_a_row_has_the_simulated_interval_and_an_estimate_is_not_compared_with_a_synthesis(reported, run, tmp_path):
    from edgephys.models.card import read_card

    name = read_card(reported / "ii2" / "model").name
    beside = tmp_path / "scaling.json"
    row = {"model": name, "lut": 1000, "lut_stage": "synthesised", "clock_ns": 5.0, "latency_cycles": 9, "ff": 7}
    for stage, share in (("synthesised", None), ("estimated", True)):
        beside.write_text(json.dumps({"rows": [row | {"lut_stage": stage}, row | {"model": "another"}]}))
        done = run("intervals", reported / "ii2", "--beside", beside, "--out", tmp_path / "ii", "--json")
        assert done.status == 0, done.err
        first, second = done.json["rows"]
        assert (first["ii"], second["ii"], second["lut_stage"]) == (1, 2, "estimated")
        assert (
            second["mismatches"] == 0
            and second["throughput_mhz"] == 100
            and (second["share"] is not None) == bool(share)
        )
    page = (tmp_path / "ii.md").read_text()
    assert (
        "# One copy for several rows: LUTs against the initiation interval" in page and (tmp_path / "ii.png").is_file()
    )


@pytest.mark.slow
def test_a_project_without_verification_or_report_is_refused_with_the_command(reported, run, tmp_path):
    assert "run `edgephys report" in run("intervals", reported / "ii4").err
    assert run("report", reported / "ii4", "--no-synth").status == 0
    assert "run `edgephys verify" in run("intervals", reported / "ii4").err
    (tmp_path / "beside.json").write_text("[]")
    assert (
        "expected a table in JSON with rows"
        in run("intervals", reported / "ii2", "--beside", tmp_path / "beside.json").err
    )
