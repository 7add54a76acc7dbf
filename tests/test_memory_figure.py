"""The figure of a memory plan is drawn from a C target's facts alone, the same bytes each time."""

import io

import numpy as np
from PIL import Image

from edgephys.targets.c.memory_figure import picture


def facts(scale=1):
    tensors = [(32, 0, 1, 0), (16, 1, 2, 32), (8, 2, 3, 0)]
    return {
        "tensors": [
            {"name": f"t{i}", "bytes": size * scale, "first": first, "last": last, "offset": at * scale}
            for i, (size, first, last, at) in enumerate(tensors)
        ],
        "steps": [{"layer": f"phi_{i}", "node": f"n{i}"} for i in range(4)],
        "arena_bytes": 48 * scale,
        "bound_bytes": 48 * scale,
        "no_sharing_bytes": 56 * scale,
        "strategy": "offsets, greedy by size",
    }


def test_a_plan_is_drawn_the_same_each_time_and_changes_with_its_offsets():
    moved = facts()
    moved["tensors"][2]["offset"] = 8
    assert picture(facts(), "a") == picture(facts(), "a")
    assert picture(facts(), "a") != picture(moved, "a")


def test_small_and_large_arenas_are_drawn_in_colours():
    for scale in (1, 4096):
        pixels = np.asarray(Image.open(io.BytesIO(picture(facts(scale), "a"))).convert("RGB"))
        assert (pixels.max(-1).astype(int) - pixels.min(-1) > 60).mean() > 0.05  # the rectangles
