"""The example of a C project: it compiles without warnings, runs, and notices an integer that differs."""

import re
import subprocess
from pathlib import Path

import pytest

from edgephys.core import processes
from edgephys.core.errors import ToolError
from edgephys.project import read

STRICT = "-std=c99 -O1 -Wall -Wextra -Wpedantic -Wconversion -Werror"


@pytest.fixture(scope="module")
def project(run, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("c") / "project"
    assert run("emit", model, "--to", "c", "--batch", "--out", folder).status == 0
    return folder


def make(folder: Path):
    try:
        make = processes.find("make")
    except ToolError as error:
        pytest.skip(str(error))
    return subprocess.run([*make.command, "-C", folder, f"CFLAGS={STRICT}"], capture_output=True, text=True)


def test_make_builds_and_runs_it_and_every_integer_is_as_expected(project):
    done = make(project / "example")
    assert done.returncode == 0 and "10 of 10 vectors: every integer as expected" in done.stdout, done.stderr


def test_it_fails_where_an_integer_differs(project):
    path = project / "example" / "vectors.h"
    before = path.read_text()
    head, _, rest = before.partition("expected[VECTORS]")
    path.write_text(head + "expected[VECTORS]" + re.sub(r"\{(-?\d+),", r"{1 + \1,", rest, count=1))
    done = make(project / "example")
    path.write_text(before)
    assert done.returncode != 0 and "9 of 10 vectors" in done.stdout and "(differs)" in done.stdout


def test_no_result_depends_on_it(run, project):
    state = read(project).state()
    with (project / "example" / "main.c").open("a") as file:
        file.write("/* mine */\n")
    opened = read(project)
    assert opened.changed() == () and opened.state() == state
    assert not any(name.startswith("example/") for name in opened.manifest.files)


def test_the_readme_states_files_call_formats_and_order(project):
    text = (project / "example" / "README.md").read_text()
    prefix = read(project).facts["prefix"]
    assert all(f"`../firmware/{name}`" in text for name in read(project).facts["files"])
    assert f"{prefix}_run(input, output, arena);" in text and f"`{prefix}_run_batch`" in text
    assert "| 4 x 3 | `fixed<12,4,RND_CONV,SAT>` | -2048..2047 | 2^-8 |" in text
    assert "Element [i][j] of the input is number 3 i + j: row after row.\n" in text
    assert "The last axis is log2pt, etarel, phirel.\n" in text
    assert "The outputs are those of g, q, w, z, t, in this order." in text and "--raw-inputs" in text


def test_the_readme_of_raw_inputs_states_the_grid_of_each_feature(run, model, tmp_path):
    assert run("emit", model, "--to", "c", "--raw-inputs", "--out", tmp_path / "raw").status == 0
    text = (tmp_path / "raw" / "example" / "README.md").read_text()
    assert "| log2pt | 2^-12 | 0..65535 |\n| etarel | 2^-12 | -8192..8191 |" in text


def test_the_example_of_a_large_field_has_fewer_vectors(project, tmp_path):
    import numpy as np

    from edgephys.targets.c import example
    from edgephys.targets.target import Example

    facts = read(project).facts
    facts["input"] |= {"shape": [64, 64, 2]}
    example.write(tmp_path, "field", facts, Example(np.zeros((5, 64, 64, 2), int), np.zeros((5, 5), int)))
    assert "#define VECTORS 2" in (tmp_path / "example" / "vectors.h").read_text()
    assert "[i][j][k] of the input is number 128 i + 2 j + k" in (tmp_path / "example" / "README.md").read_text()
