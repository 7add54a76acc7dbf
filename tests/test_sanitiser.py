"""A program with checks gets the same addresses each time, where the system allows it."""

from pathlib import Path

import pytest

from edgephys.core import processes as tools
from edgephys.targets import sanitiser

PERSONALITY = Path("/proc/self/personality")
FIXED = 0x0040000
"""ADDR_NO_RANDOMIZE of personality(2)."""


@pytest.fixture(autouse=True)
def asked_anew():
    sanitiser.at_fixed_addresses.cache_clear()
    yield
    sanitiser.at_fixed_addresses.cache_clear()


@pytest.mark.skipif(not PERSONALITY.exists(), reason="it is Linux that states how a program runs")
def test_a_program_runs_without_random_addresses_and_keeps_its_name(tmp_path):
    if not sanitiser.at_fixed_addresses():
        pytest.skip("this system refuses it")
    assert int(sanitiser.run(["cat", str(PERSONALITY)], tmp_path, 10, []), 16) & FIXED


@pytest.mark.parametrize("how", ["no setarch", "refused"])
def test_where_fixed_addresses_are_refused_a_program_runs_all_the_same(how, tmp_path, monkeypatch):
    refusing = tmp_path / "setarch"
    refusing.write_text("#!/bin/sh\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(sanitiser.shutil, "which", lambda name: None if how == "no setarch" else str(refusing))
    assert sanitiser.at_fixed_addresses() == ()
    assert sanitiser.run(["echo", "ran"], tmp_path, 10, []) == "ran\n"


def test_the_way_is_asked_once(monkeypatch):
    calls = []
    monkeypatch.setattr(tools, "run", lambda *words, **options: calls.append(words))
    assert sanitiser.at_fixed_addresses() == sanitiser.at_fixed_addresses() and len(calls) <= 1
