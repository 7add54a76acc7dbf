"""Shared by the whole suite: fixtures, a cache of builds for this session, and Hypothesis that repeats itself."""

import io
import json
import os
import shutil
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import h5py
import pytest
from hypothesis import HealthCheck, settings

from edgephys import cli
from edgephys.project import emit

SAMPLE = Path(__file__).parent.parent / "models" / "samples" / "jets.h5"

settings.register_profile(
    "edgephys",
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("edgephys")


QUICKLY_COMPILED = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
"""XLA takes longer to compile the training step of a small model than the step runs."""
os.environ.setdefault("XLA_FLAGS", QUICKLY_COMPILED)


def pytest_configure():
    """Let ctrl-C be tested where a shell started the suite in its background, and thus deaf to it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Keep cached builds in a folder that all workers of this session share, unless EDGEPHYS_CACHE names another."""
    if os.environ.get("EDGEPHYS_CACHE"):
        yield
        return
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "builds"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEPHYS_CACHE", str(home))
        yield


# The command line, and a small model on it -----------------------------------------------------


class Ran:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def json(self):
        return json.loads(self.out)


def command_line(*words):
    """Run the command line in this process, which has loaded Keras already: status, stdout, stderr."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="", write_through=True) for _ in range(2))
    try:
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["edgephys", *map(str, words)])
            with pytest.raises(SystemExit) as ended:
                cli.main()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return Ran(ended.value.code or 0, *(stream.buffer.getvalue().decode() for stream in (out, err)))


@pytest.fixture(scope="session")
def run():
    """Return ``command_line``."""
    return command_line


@pytest.fixture(scope="module")
def uncompiled():
    """Run TensorFlow's functions as they are written, to the end of the module.

    Compiling them takes longer than a few calls on a small model.
    """
    from edgephys.networks.backend import tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def no_ranks(model, x):
    """Return the local rank of no layer."""
    return {}


@pytest.fixture
def unranked(monkeypatch):
    """Leave the local rank, which takes most of a stage of a small model, out of the gains."""
    from edgephys.compress import gains

    monkeypatch.setattr(gains, "local_rank", no_ranks)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    from small_model import save_small  # loads Keras

    return save_small(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="session")
def few_jets(tmp_path_factory):
    path = tmp_path_factory.mktemp("jets") / "few.h5"
    with h5py.File(SAMPLE) as source, h5py.File(path, "w") as out:
        for name in source:
            whole = source[name]
            out[name] = whole[:2000] if whole.ndim > 1 else whole[:]
    return path


@pytest.fixture(scope="session")
def projects(model, run, tmp_path_factory):
    """The small model emitted to both targets."""
    top = tmp_path_factory.mktemp("projects")
    for kind in ("hls", "rtl"):
        emitted = run("emit", model, "--to", kind, "--out", top / kind)
        assert emitted.status == 0, emitted.err
    return top


@pytest.fixture
def project(projects, tmp_path):
    """A copy of an emitted project, to be broken."""

    def copy(kind):
        return Path(shutil.copytree(projects / kind, tmp_path / kind))

    return copy


@pytest.fixture(scope="session")
def c_project(model, tmp_path_factory):
    from edgephys.models.frameworks import load
    from edgephys.targets.c.options import COptions

    return emit(load(model), COptions(prefix="small"), tmp_path_factory.mktemp("c") / "small").folder


@pytest.fixture
def received(c_project, projects, tmp_path):
    """A copy of a project of a kind, to be changed."""

    def copy(kind):
        return Path(shutil.copytree(c_project if kind == "c" else projects / kind, tmp_path / kind))

    return copy
