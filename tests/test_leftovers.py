"""What a kill leaves behind: its programs end, and the next run removes its files."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest

from edgephys.core import builds, processes, scratch
from edgephys.core.beside import beside
from edgephys.core.errors import ToolError
from edgephys.core.files import replace_folder, write_file


def alive(number):
    """Tell whether a process runs: one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_programs_and_what_they_started_die_with_a_process_that_is_killed(tmp_path):
    script = """
        import sys
        from pathlib import Path
        from edgephys.core import processes
        words = "sleep 300 & echo $! > child; sh -c 'sleep 300 & echo $! > grandchild; wait' & echo $$ > self; wait"
        processes.run(["sh", "-c", words], Path(sys.argv[1]), 300.0)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), tmp_path])
    names = [tmp_path / name for name in ("child", "grandchild", "self")]
    end = time.monotonic() + 60
    while not all(name.is_file() and name.read_text().strip() for name in names):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.05)
    numbers = [int(name.read_text()) for name in names]
    assert all(map(alive, numbers))
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(map(alive, numbers)):
        assert time.monotonic() < end, "programs are left behind"
        time.sleep(0.05)


def test_a_program_that_ended_is_no_longer_watched(tmp_path, monkeypatch):
    from edgephys.core import watcher

    lines = []
    monkeypatch.setattr(watcher, "_write", lines.append)
    processes.run(["true"], tmp_path, 10.0)
    assert [line[:1] for line in lines] == ["", "+", "-"] and lines[1][1:] == lines[2][1:]


def no_end(folder):
    processes.run(["sh", "-c", "echo half > ${TMPDIR:?}/half.s; exec sleep 300"], folder, 2.0)


def fails(folder):
    processes.run(["sh", "-c", "echo half > ${TMPDIR:?}/half.s; exit 3"], folder, 10.0)


def caller_fails(folder):
    with beside([partial(no_end, folder)]):
        end = time.monotonic() + 10
        while not list(Path(tempfile.gettempdir()).glob("*/half.s")):
            assert time.monotonic() < end, "no file where programs make theirs"
            time.sleep(0.01)
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("run", "failure"), [(no_end, ToolError), (fails, ToolError), (caller_fails, KeyboardInterrupt)]
)
def test_files_that_a_program_makes_for_a_time_are_removed_when_it_is_stopped(tmp_path, monkeypatch, run, failure):
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    with pytest.raises(failure):
        run(tmp_path)
    assert not list(own.iterdir())


def test_files_that_a_killed_compiler_left_are_removed_by_a_run_over_a_day_later(tmp_path, monkeypatch):
    left = tmp_path / "edgephys-program-abcd1234"
    left.mkdir()
    (left / "ccHdfLHX.s").write_text("half")
    aged(left, 2)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    processes.run(["true"], tmp_path, 10.0)
    assert not list(tmp_path.iterdir())


def aged(path, days):
    """Set the time of a path, and of all that is in it."""
    then = time.time() - days * 86400
    for each in (*path.rglob("*"), path):
        os.utime(each, (then, then), follow_symlinks=False)


def test_the_next_run_removes_what_a_kill_left_behind_over_a_day_ago(tmp_path):
    def folder(name, days):
        (tmp_path / name / "inside").mkdir(parents=True)
        (tmp_path / name / "inside" / "file").write_text("x")
        aged(tmp_path / name, days)
        return tmp_path / name

    old = [folder(".out.edgephys-abcd_123", 1.1), folder(".out.edgephys-zzzzzzzz", 30)]
    young, used = folder(".out.edgephys-aaaaaaaa", 0.9), folder(".out.edgephys-bbbbbbbb", 3)
    (used / "inside" / "fresh").write_text("still written to")
    others = [
        folder(name, 30) for name in (".out-abcd1234", ".out.edgephys-abc", ".out2.edgephys-abcd1234", "out.edgephys")
    ]
    replace_folder(tmp_path / "out", lambda fresh: (fresh / "mark").write_text(""), "mark")
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in (young, used, *others))

    (tmp_path / ".table.json.edgephys-abcd1234").write_text("half")
    aged(tmp_path / ".table.json.edgephys-abcd1234", 2)
    write_file(tmp_path / "table.json", b"{}")
    assert not (tmp_path / ".table.json.edgephys-abcd1234").exists()


def test_a_link_that_a_kill_left_is_removed_and_not_what_it_leads_to(tmp_path):
    (tmp_path / "precious").mkdir()
    link = tmp_path / ".out.edgephys-abcd1234"
    link.symlink_to("precious")
    aged(link, 2)
    scratch.sweep(tmp_path, ".out.edgephys-")
    assert not link.is_symlink() and (tmp_path / "precious").is_dir()


def test_a_build_removes_what_killed_builds_left_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPHYS_CACHE", str(tmp_path))
    left, recent = tmp_path / "ab" / ".building-abcd1234", tmp_path / "ab" / ".building-recent00"
    for folder in (left, recent):
        folder.mkdir(parents=True)
    aged(left, 2)
    builds.built("cd" + "0" * 62, lambda folder: (folder / "done").write_text(""))
    assert not left.exists() and recent.exists()


def test_a_killed_write_leaves_only_a_name_that_the_next_one_sweeps(tmp_path):
    script = """
        import os, signal, sys
        from pathlib import Path
        from edgephys.core.files import replace_folder
        replace_folder(Path(sys.argv[1]), lambda folder: os.kill(os.getpid(), signal.SIGKILL), "mark")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), tmp_path / "out"], check=False)
    (left,) = tmp_path.iterdir()
    aged(left, 2)
    replace_folder(tmp_path / "out", lambda fresh: (fresh / "mark").write_text(""), "mark")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
