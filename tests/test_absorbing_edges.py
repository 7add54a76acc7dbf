"""Edges that let waves leave: absorbing pixels around the field, in the data, in training and in integers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgephys.applications.waves import task as advance
from edgephys.applications.waves.application import FrameSampling, WaveSimulation
from edgephys.applications.waves.channels import channels
from edgephys.applications.waves.data import files as waves
from edgephys.applications.waves.data.scene import ABSORBING, DIRICHLET
from edgephys.applications.waves.networks.wave_operator import WaveOperator
from edgephys.core.errors import DataError
from edgephys.graph import evaluate
from edgephys.models.files.keras import lower
from edgephys.models.standardise import Standardisation
from edgephys.networks.edges import SHARE_FRACTION
from edgephys.networks.medium import MediumMap

SAMPLE = Path(__file__).parent.parent / "models" / "samples" / "waves.h5"
OPEN = WaveOperator(grid=32, width=2, kernel_size=5, knots=5, absorbing=2)
WALLS = replace(OPEN, absorbing=0)  # as many pixels around the field


def ready_of(net):
    count = len(net.names)
    return Standardisation(net.names, (net.input,) * count, (0,) * count, (1,) * count, (0,) * count, net.input)


def runs_with(edges, count=2):
    """Return the first runs of the sample, as if their edges were others."""
    runs = waves.read(SAMPLE, count)
    scenes = tuple(replace(scene, medium=replace(scene.medium, edges=edges)) for scene in runs.scenes)
    return replace(runs, scenes=scenes)


def test_a_map_tells_walls_free_and_absorbing_pixels_apart():
    medium = MediumMap(bits=7, integer=1, absorbing=True)
    assert (medium.fixed.bits, medium.fixed.integer) == (8, 3)
    values = np.array([-1.5, 0.5, 1.9, 2.5, 3.75], np.float32)
    assert np.asarray(medium.absorbs(values)).tolist() == [False, False, False, True, True]
    assert np.allclose(medium.speed(values), [1.5, 0.5, 1.9, 0.5, 1.75])


@pytest.mark.parametrize("knots", [3, 5, 17])
@pytest.mark.parametrize("absorbing", [False, True])
def test_tables_of_a_map_hold_what_floats_give(absorbing, knots):
    medium = MediumMap(bits=7, integer=1, absorbing=absorbing)
    values = (medium.entries * medium.fixed.step).astype(np.float32)
    hats, one = medium.hats_of_entries(knots)
    assert np.array_equal(np.asarray(medium.hats(values[:, None], knots)) * one, hats)
    assert np.array_equal(np.asarray(medium.absorbs(values)), medium.entries_absorb)


def test_around_a_field_with_open_edges_lie_absorbing_pixels_and_the_nearest_points():
    runs, ready = runs_with(ABSORBING), ready_of(OPEN)
    x = channels(ready, runs.frames[0, 3:5], runs.speed[0], 36, ABSORBING)
    span = 2 << OPEN.input.fraction
    assert x.shape == (36, 36, 3)
    assert (x[:2, :, 2] // span == 1).all() and (x[2:-2, 2:-2, 2] // span == 0).all()
    assert (x[0, 5] == x[2, 5] + [0, 0, span]).all() and (x[35, 35, :2] == x[33, 33, :2]).all()


def test_labels_are_the_frames_without_what_lies_around_them():
    runs = runs_with(ABSORBING)
    every = advance.fields(runs, [0], ready_of(OPEN), 36, FrameSampling(every=5, unroll=2))
    assert every.inputs.shape[1:] == (36, 36, 3) and every.labels.shape[1:] == (32, 32, 2)
    assert np.array_equal(every.labels[0][..., 0], OPEN.input.quantise(runs.frames[0, 2]))


def test_an_error_leaves_out_what_lies_around_the_field():
    graph = lower(OPEN.build(), OPEN.input, "w")
    frames = np.random.default_rng(1).integers(-99, 99, (3, 32, 32, 1))
    outputs = np.pad(frames, [(0, 0), (2, 2), (2, 2), (0, 0)], constant_values=5000)
    assert WaveSimulation().score_outputs(graph, outputs, frames)["relative_l2"].value == 0


def test_on_runs_within_walls_absorbing_pixels_change_no_integer():
    nets = [WALLS, OPEN]
    random, models = np.random.default_rng(4), [net.build() for net in nets]
    filters = random.normal(size=models[0].get_layer("operator").weights_of_parts[0].shape)
    for model in models:
        first = model.get_layer("operator").weights_of_parts[0]
        first.assign(first.constraint(filters))
    runs = waves.read(SAMPLE, 1)
    x = channels(ready_of(WALLS), runs.frames[0, 3:5], runs.speed[0], 36)
    ours = [evaluate.run(lower(model, WALLS.input, "w"), x[None]) for model in models]
    assert np.array_equal(*ours) and np.abs(ours[0]).max() > 100


def test_shares_are_a_table_and_1_where_the_field_is_free():
    edges = OPEN.build().get_layer("walls")
    medium, table = edges.medium, edges.table()
    one = 1 << SHARE_FRACTION
    assert (table[medium.entries < 0] == 0).all() and (table[medium.entries_absorb] == 59).all()
    assert (table[(medium.entries >= 0) & ~medium.entries_absorb] == one).all()


def test_what_moves_between_absorbing_pixels_comes_to_rest_and_between_walls_it_does_not():
    net = replace(OPEN, grid=8, absorbing=6)
    model, slopes = net.build(), np.zeros((5, 5, 2), np.float32)
    slopes[2, 2:4, 0] = slopes[2:4, 2, 1] = -0.5, 0.5  # the wave equation of a grid
    operator = model.get_layer("operator")
    operator.weights_of_parts[0].assign(slopes)
    operator.gates.assign(np.ones(operator.gates.shape))
    graph = lower(model, net.input, "w")
    places = (np.arange(8) - 3.5) ** 2
    frames = np.stack([3000 * np.exp(-np.add.outer(places, places) / 5)] * 2)
    left = {}
    for edges in (DIRICHLET, ABSORBING):
        x = channels(ready_of(net), frames * net.input.step, np.ones((8, 8)), net.side, edges)[None]
        before, now, medium = x[..., 0:1], x[..., 1:2], x[..., 2:]
        moved = []
        for _ in range(300):
            before, now = now, evaluate.run(graph, np.concatenate([before, now, medium], -1))
            moved.append(np.abs(now - before).max())
        left[edges] = max(moved[-50:]) / max(moved[:20])
    assert left[ABSORBING] < 0.1 and left[DIRICHLET] > 0.5


def test_runs_with_open_edges_are_refused_by_a_network_without_absorbing_pixels(monkeypatch):
    runs = runs_with(ABSORBING)
    monkeypatch.setattr(waves, "read", lambda path: runs)
    with pytest.raises(DataError, match="within walls, as the network takes, found run 0 with edges that absorb"):
        advance.fitting(SAMPLE, ready_of(WALLS), 36)
    assert advance.fitting(SAMPLE, ready_of(OPEN), 36).edges == (ABSORBING,) * 2


@pytest.mark.parametrize(("speed", "found"), [(1.95, r"\d..*1.95"), (0.05, r"0.05.*\d")])
def test_speeds_that_would_be_rounded_to_an_absorbing_pixel_or_a_wall_are_refused(monkeypatch, speed, found):
    runs = runs_with(ABSORBING)
    runs.speed[0, 3, 3] = speed
    monkeypatch.setattr(waves, "read", lambda path: runs)
    with pytest.raises(DataError, match=f"expected 0.0625..1.9375, as a network with absorbing pixels takes.*{found}"):
        advance.fitting(SAMPLE, ready_of(OPEN), 36)
