"""What a benchmark rests on: statistics over rounds, turns, timing in Python, one core of a machine."""

import gc
import os

import numpy as np
import pytest

from edgephys.bench import latency, runners, worker
from edgephys.core import machine, timing
from edgephys.core.errors import ToolError, UsageError
from edgephys.core.timing import Slice, Slot


def sliced(*us):
    return whole(np.array(us, np.int64) * 1000)


def whole(ns):
    """A slice that had the core all the time."""
    return Slice(ns, int(ns.sum()) or 1, int(ns.sum()))


# Statistics --------------------------------------------------------------------------------------


def test_percentiles_are_over_the_calls_of_all_rounds_and_slow_ones_count() -> None:
    found = latency.summary([sliced(*range(1, 51)), sliced(*range(51, 101), 10_000)], batch=1)
    assert found["p50_us"] == 51.0 and found["p90_us"] == 91.0 and found["p99_us"] == 100.0
    assert found["calls"] == 101 and found["rounds"] == 2
    assert latency.summary([sliced(4)] * 3, batch=1024)["per_second"] == pytest.approx(1024 / 4e-6)


def test_time_that_others_had_the_core_is_told_from_the_targets_own() -> None:
    found = latency.summary([Slice(np.full(4, 10_000), 40_000, 30_000), Slice(np.full(4, 20_000), 80_000, 30_000)], 1)
    assert found["cpu_us"] == 7.5 and found["core_share"] == 0.5


def test_a_percentile_of_too_few_calls_is_none() -> None:
    assert latency.summary([sliced(*range(9))], 1)["p90_us"] is None
    few = latency.summary([sliced(*range(99))], 1)
    assert few["p90_us"] is not None and few["p99_us"] is None


def test_a_ratio_is_formed_within_a_round_so_a_slow_while_leaves_it_alone() -> None:
    slow = [1, 1, 10, 1]  # the whole machine, in the third round
    reference, ours = [sliced(30 * by) for by in slow], [sliced(3 * by) for by in slow]
    assert latency.ratio(reference, latency.medians(ours)) == {"ratio": 10.0, "ratio_low": 10.0, "ratio_high": 10.0}
    ours[1] = sliced(6)
    found = latency.ratio(reference, latency.medians(ours))
    assert found["ratio"] == 10.0 and 5.0 < found["ratio_low"] < 10.0 and found["ratio_high"] == 10.0


def test_over_one_is_faster_than_the_reference() -> None:
    assert latency.ratio([sliced(20)] * 3, [40_000.0] * 3)["ratio"] == 0.5


# Turns -------------------------------------------------------------------------------------------

SLOTS = [Slot(target, batch, 7) for target in ("a", "b", "c") for batch in (1, 64)]


def order(seed, rounds=8):
    taken = []

    def timer(target, batch, calls):
        taken.append((target, batch))
        assert calls == 7
        return sliced(1)

    slices, failed = timing.interleave(SLOTS, rounds, seed, timer, lambda _: None)
    assert {len(found) for found in slices.values()} == {rounds} and not failed
    return [tuple(taken[start : start + len(SLOTS)]) for start in range(0, len(taken), len(SLOTS))]


def test_every_round_times_every_target_once_in_an_order_of_its_own() -> None:
    rounds = order(seed=1)
    everyone = sorted((slot.name, slot.batch) for slot in SLOTS)
    assert all(sorted(taken) == everyone for taken in rounds)
    assert len(set(rounds)) > len(rounds) // 2


def test_the_order_is_the_seeds() -> None:
    assert order(seed=1) == order(seed=1) != order(seed=2)


def test_a_target_that_falls_out_leaves_the_others_their_turns() -> None:
    counted = dict.fromkeys(("a", "b", "c"), 0)

    def timer(target, batch, calls):
        counted[target] += 1
        if target == "b" and counted["b"] == 3:
            raise ToolError("b: its process was killed by SIGSEGV")
        return sliced(1)

    slices, failed = timing.interleave(SLOTS, 5, 1, timer, lambda _: None)
    assert failed == {"b": "b: its process was killed by SIGSEGV"}
    assert counted == {"a": 10, "b": 3, "c": 10}
    assert {name for name, _ in slices} == {"a", "c"}


@pytest.mark.parametrize(("us", "calls"), [(10, 1000), (0.001, timing.MOST_CALLS), (50_000, 5)])
def test_a_slice_has_the_calls_that_fill_its_time(us, calls) -> None:
    made = timing.calibrate(lambda t, b, n: whole(np.full(n, us * 1000)), "a", 1, 0.01, least=5)
    assert made == pytest.approx(calls, rel=0.01)


def test_calls_that_are_held_up_do_not_make_slices_short() -> None:
    def timer(target, batch, calls):
        ns = np.full(calls, 10_000)
        ns[-1] += 4_000_000 * (calls > 4)
        return whole(ns)

    assert timing.calibrate(timer, "a", 1, 0.01, least=5) == pytest.approx(1000, abs=1)


# Timing in Python --------------------------------------------------------------------------------


def test_a_call_takes_what_the_clock_says_and_inputs_come_in_turn() -> None:
    now, seen = [0], []

    def call(feed):
        seen.append(feed)
        now[0] += 100 * feed

    assert timing.call_times(call, [1, 2, 5], 7, clock=lambda: now[0]).tolist() == [100, 200, 500, 100, 200, 500, 100]
    assert seen == [1, 2, 5, 1, 2, 5, 1]


def test_outputs_are_those_of_the_vectors_though_the_last_batch_is_filled_up() -> None:
    x = np.arange(10)[:, None]
    sizes = []

    def bind(batch):
        def call(feed):
            sizes.append((batch, len(feed)))
            return 2 * feed

        return call

    runner = runners.InPython("tool", "1", x, bind, lambda chunk: chunk, lambda found: found)
    np.testing.assert_array_equal(runner.outputs(4, 10), 2 * x)
    assert sizes == [(4, 4)] * 3
    assert runner.slice(1, 3).shape == (3,) and runner.timer_ns() >= 0


def test_a_slice_is_warm_and_no_garbage_is_collected_while_it_is_timed() -> None:
    asked = []

    class Runner:
        def slice(self, batch, calls):
            asked.append((batch, calls, gc.isenabled()))
            if calls == 7:
                raise ValueError("no")
            return [5] * calls

    part = worker._slice(Runner(), 16, 50)
    assert part.ns.tolist() == [5] * 50 and part.wall_ns > 0 and part.cpu_ns >= 0
    assert asked == [(16, 5, True), (16, 50, False)] and gc.isenabled()
    with pytest.raises(ValueError, match="no"):
        worker._slice(Runner(), 1, 7)
    assert gc.isenabled()


def test_calls_cycle_through_fewer_inputs_where_these_are_large() -> None:
    assert runners.distinct(np.zeros((2, 8, 3), int), 1) == runners.FEEDS
    assert runners.distinct(np.zeros((2, 64, 64, 3), int), 1) == runners.LEAST_FEEDS


# The machine -------------------------------------------------------------------------------------

CPUINFO = """processor : 0
cpu family\t: 6
model\t\t: 85
model name\t: A Processor
flags\t\t: fpu sse avx avx2 avx512f avx512_vnni hypervisor

processor : 1
model name\t: Another
"""


def test_a_processor_is_named_with_the_features_that_decide_products(tmp_path) -> None:
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    found = machine.describe(0, tmp_path / "cpuinfo")
    assert found["processor"] == "A Processor" and found["family"] == "6 85" and found["virtual"]
    assert found["features"] == ["avx", "avx2", "avx512f", "avx512_vnni"]
    assert machine.describe(None, tmp_path / "none")["features"] == []


def test_a_core_that_we_may_not_use_is_refused() -> None:
    allowed = os.sched_getaffinity(0)
    assert machine.choose() == max(allowed) and machine.choose(min(allowed)) == min(allowed)
    with pytest.raises(UsageError, match=r"core must be one of .* which this process may use, not 9999"):
        machine.choose(9999)


def test_libraries_are_kept_to_one_thread_only_where_it_was_asked(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    before = dict(os.environ)
    with pytest.raises(ValueError, match="out"), machine.one_thread():
        assert {os.environ[name] for name in machine.ONE_THREAD} == {"1"}
        raise ValueError("out")
    assert dict(os.environ) == before
