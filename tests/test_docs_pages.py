"""Every block of the first pages runs, in its order, in a copy of the repository with few jets and short trainings."""

import re
import shlex
import shutil
import subprocess

import pytest
from command_lines import TOP, blocks, joined

PAGES = ("install", "first_model", "own_model", "targets", "first_ten_jobs")
SHORTER = {
    "phi=16,16,16": "phi=4,4",
    "rho=16": "rho=4",
    "bits=5": "bits=4",
    "epochs=25": "epochs=1",
    "width=32": "width=8 --set epochs=2",
    "--bits 8": "--bits 4",
    "--max-minutes 3": "--max-minutes 0.3",
}
TAGGER = (
    "edgephys train models/jet_deepsets.py --data models/samples/jets.h5 --set phi=4,4 --set rho=4 --set bits=4 "
    "--set epochs=1 --out runs/tagger"
)
BEFORE = {"targets": [TAGGER]}
"""What a page reads that an earlier one wrote."""
NEEDED = {"make -C": "iverilog"}


@pytest.fixture
def workplace(few_jets, tmp_path, monkeypatch):
    """Go to a folder with the scripts, pipelines and few data of the repository; what is written stays there."""
    (tmp_path / "models" / "samples").mkdir(parents=True)
    for name in ("examples", "compress", "models/zoo", *(f"models/{path.name}" for path in TOP.glob("models/*.py"))):
        (tmp_path / name).symlink_to(TOP / name)
    shutil.copy(few_jets, tmp_path / "models" / "samples" / "jets.h5")
    (tmp_path / "models" / "samples" / "waves.h5").symlink_to(TOP / "models" / "samples" / "waves.h5")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shortened(line):
    for text, short in SHORTER.items():
        line = line.replace(text, short)
    return line


def run_line(line, run):
    """Run a line of a page: a command of the program in this process, a target of the Makefile without doing it."""
    if line.startswith("edgephys "):
        done = run(*shlex.split(shortened(line), comments=True)[1:])
        assert done.status == 0, f"{line}: {done.err}"
        return
    needed = next((tool for start, tool in NEEDED.items() if line.startswith(start)), "sh")
    if shutil.which(needed) is None:
        return
    of_repository = re.fullmatch(r"make [a-z-]+", line)
    words = f"make --dry-run {line.removeprefix('make ')}" if of_repository else line
    done = subprocess.run(words, shell=True, cwd=TOP if of_repository else None, capture_output=True, text=True)
    assert done.returncode == 0, f"{line}: {done.stderr}"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_runs(page, run, workplace):
    names = {}
    parts = blocks(TOP / "docs" / f"{page}.md")
    assert {language for language, _ in parts} <= {"sh", "python", "c"} and parts
    for line in BEFORE.get(page, ()):
        run_line(line, run)
    for language, text in parts:
        if language == "sh":
            for line in joined(text):
                run_line(line, run)
        elif language == "python":
            exec(compile(text, f"{page}.md", "exec"), names)
        else:
            (workplace / re.match(r"/\* (\S+) \*/", text)[1]).write_text(text)


@pytest.mark.parametrize("page", PAGES)
def test_no_command_of_such_a_page_stands_outside_of_its_blocks(page):
    text = (TOP / "docs" / f"{page}.md").read_text()
    assert not re.findall(r"^ {4}edgephys ", text, re.MULTILINE)
