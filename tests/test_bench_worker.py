"""Targets in processes of their own: C written by hand, onnxruntime, and what says that it is missing."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgephys.bench import compiled_runtime, exports, measure, runners
from edgephys.bench.worker import Job, Worker
from edgephys.core import machine
from edgephys.core.errors import ProjectError, ToolError
from edgephys.core.fixed import Fixed

EIGHT = Fixed(True, 8, 4)


# Processes, with C written by hand ---------------------------------------------------------------

HEADER = """#include <stdint.h>
#define TINY_ARENA_BYTES 0
#define TINY_INPUTS 3
#define TINY_OUTPUTS 2
typedef int8_t tiny_input_t;
typedef int16_t tiny_output_t;
void tiny_run(const tiny_input_t *x, tiny_output_t *y, void *arena);
"""
SOURCE = """#include "tiny.h"
#include <stdlib.h>
void tiny_run(const tiny_input_t *x, tiny_output_t *y, void *arena) {
    (void)arena;
    if (x[0] == 99) abort();
    y[0] = x[0] + x[1];
    y[1] = 3 * x[2];
}
"""
X = np.array([[1, 2, 3], [-4, 5, -6], [100, 27, 127], [0, 0, -128]])
Y = np.stack([X[:, 0] + X[:, 1], 3 * X[:, 2]], axis=1)


def c_job(folder, source=SOURCE, x=X) -> Job:
    folder.mkdir(exist_ok=True)
    (folder / "tiny.h").write_text(HEADER)
    (folder / "tiny.c").write_text(source)
    np.savez(folder / "vectors.npz", inputs=x)
    facts = {"prefix": "tiny", "arena_bytes": 0}
    facts |= {"input": {"shape": [3]}, "output": {"shape": [2]}}
    return Job("c", "c", folder, facts, folder / "vectors.npz", EIGHT, EIGHT)


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    worker = Worker(c_job(tmp_path_factory.mktemp("c") / "firmware"), machine.choose())
    yield worker
    worker.close()


def test_a_target_computes_and_is_timed_in_a_process_of_its_own_on_one_core(worker) -> None:
    before = os.sched_getaffinity(0)
    np.testing.assert_array_equal(worker.outputs(1, 4), Y)
    np.testing.assert_array_equal(worker.outputs(4, 4), Y)
    for batch in (1, 4, 64):
        found = worker.slice(batch, 50)
        assert (
            found.ns.shape == (50,) and (found.ns >= 0).all() and found.cpu_ns > 0 and found.ns.sum() <= found.wall_ns
        )
    assert worker.details["tool"] == "generated C, gcc" and "-march=native" in worker.details["flags"]
    assert os.sched_getaffinity(worker._process.pid) == {machine.choose()}
    assert os.sched_getaffinity(0) == before


def test_the_first_output_that_differs_is_named(worker) -> None:
    assert measure.compare(worker, Y, (1, 4)) == dict(outputs=16, mismatches=0, first=None, largest=0.0)
    found = measure.compare(worker, Y + np.array([[0, 0], [0, 0], [0, 1], [0, 0]]), (1, 4))
    assert found["mismatches"] == 2 and found["largest"] == 1.0
    assert found["first"] == "first vector 2, element [1]: expected 382, received 381"
    with pytest.raises(ProjectError, match=r"expected outputs of shape \(4, 3\), received \(4, 2\)"):
        measure.compare(worker, np.zeros((4, 3), int), (1, 4))


def test_a_target_that_is_killed_is_told_from_one_that_answers(tmp_path) -> None:
    killed = Worker(c_job(tmp_path / "firmware", x=np.array([[99, 0, 0]])), None)
    with pytest.raises(ToolError, match="c: its process was killed by SIGABRT"):
        killed.outputs(1, 1)
    with pytest.raises(ToolError, match="c: its process was killed by SIGABRT"):
        killed.slice(1, 1)
    killed.close()


def test_c_that_does_not_compile_says_so(tmp_path) -> None:
    with pytest.raises(ToolError, match=r"c: gcc ended with status 1: .*error"):
        Worker(c_job(tmp_path / "firmware", SOURCE.replace("y[0]", "z[0]")), None)


def test_a_source_that_is_gone_is_named(tmp_path) -> None:
    job = c_job(tmp_path / "firmware")
    (tmp_path / "firmware" / "tiny.c").unlink()
    with pytest.raises(ProjectError, match=r"tiny\.c is missing; emit the project again"):
        compiled_runtime.c(job, X)


def test_a_target_that_does_not_answer_in_time_is_ended(tmp_path) -> None:
    slow = SOURCE.replace("y[0] =", "for (volatile long i = 0; i >= 0; i++) {}\n    y[0] =")
    hung = Worker(c_job(tmp_path / "firmware", slow), None, answer_s=0.5)
    with pytest.raises(ToolError, match=r"c: no answer after 0\.5 s"):
        hung.slice(1, 1)
    hung.close()
    assert hung._process.exitcode == -9


def test_a_kind_that_nothing_runs_is_named(tmp_path) -> None:
    job = replace(c_job(tmp_path / "firmware"), runner="abacus")
    with pytest.raises(ToolError, match="nothing here runs targets of kind 'abacus'; known are c, onnx"):
        runners.load(job)


# onnxruntime -------------------------------------------------------------------------------------


def onnx_job(folder, kind, runner="onnx", bound=False, **facts) -> Job:
    from onnx import TensorProto, helper, save

    folder.mkdir(exist_ok=True)
    number = getattr(TensorProto, kind)
    edges = [helper.make_tensor_value_info(name, number, ["batch", 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", [edges[0]], [edges[1]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(model, folder / "model.onnx")
    np.savez(folder / "vectors.npz", inputs=X)
    return Job("onnx", runner, folder / "model.onnx", facts, folder / "vectors.npz", EIGHT, EIGHT, bound=bound)


STEPS = {"input": {"fraction": 0}, "output": {"fraction": 0}}


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("INT8", {}),
        ("FLOAT", {}),
        ("FLOAT", STEPS),
        ("DOUBLE", {}),
        ("FLOAT", {"bound": True}),
        ("INT16", {"bound": True}),
    ],
)
def test_an_onnx_model_takes_integers_steps_or_real_values(kind, facts, tmp_path) -> None:
    runner = runners.load(onnx_job(tmp_path / "firmware", kind, **facts))
    np.testing.assert_array_equal(runner.outputs(3, 4), X)
    assert (runner.slice(1, 20) > 0).all() and runner.tool == "onnxruntime"


def test_keras_own_export_takes_real_values(tmp_path) -> None:
    runner = runners.load(onnx_job(tmp_path / "firmware", "FLOAT", "keras_onnx"))
    assert runner.slice(2, 5).shape == (5,)
    np.testing.assert_array_equal(runner.outputs(2, 4), X)


def test_a_missing_onnxruntime_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ToolError, match=r"onnxruntime is missing .*: pip install onnxruntime"):
        runners.load(onnx_job(tmp_path / "firmware", "FLOAT"))


def test_a_missing_tf2onnx_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(exports.importlib.util, "find_spec", lambda _: None)
    made = exports._export(("keras_onnx", Path("model.keras")))
    assert made.path is None and "needs tf2onnx, which is missing: pip install tf2onnx" in made.why


def test_a_missing_tflite_says_why(tmp_path, monkeypatch) -> None:
    without = SimpleNamespace(tf=SimpleNamespace(__version__="9.9"))
    monkeypatch.setitem(sys.modules, "edgephys.networks.backend", without)
    job = replace(onnx_job(tmp_path / "firmware", "FLOAT"), runner="tflite")
    with pytest.raises(ToolError, match=r"TFLite is missing: TensorFlow 9\.9 comes without"):
        runners.load(job)


BATCH = """#include "tiny.h"
void tiny_run_batch(const tiny_input_t *x, tiny_output_t *y, size_t count, void *arena) {
    ((unsigned char *)arena)[TINY_BATCH_ARENA_BYTES - 1] = 1;
    for (size_t v = 0; v < count; v++) {
        y[2 * v] = x[3 * v] + x[3 * v + 1] + 1;
        y[2 * v + 1] = 3 * x[3 * v + 2] + 1;
    }
}
"""
BATCH_HEADER = """#include <stddef.h>
#define TINY_BATCH_ARENA_BYTES 4096
void tiny_run_batch(const tiny_input_t *x, tiny_output_t *y, size_t count, void *arena);
"""


def test_a_batch_is_one_call_of_the_entry_point_for_many_events_and_one_vector_is_not(tmp_path) -> None:
    job = c_job(tmp_path / "firmware")
    (tmp_path / "firmware" / "tiny.h").write_text(HEADER + BATCH_HEADER)
    (tmp_path / "firmware" / "tiny_batch.c").write_text(BATCH)
    facts = {**job.facts, "batch": {"lanes": 32, "one_by_one": None}}
    runner = compiled_runtime.c(replace(job, facts=facts), X)
    np.testing.assert_array_equal(runner.outputs(1, 4), Y)
    np.testing.assert_array_equal(runner.outputs(64, 4), Y + 1)
    assert (runner.slice(64, 20) >= 0).all() and (runner.slice(3, 20) >= 0).all()
    assert runner.details["batch_entry"] == "tiny_run_batch" and runner.details["lanes"] == 32
    assert compiled_runtime.c(job, X).details["batch_entry"] == "a loop over events"
