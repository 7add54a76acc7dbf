"""LUTs of HLS without a vendor's tool: fitted to published reports, labelled, and refused where none fits."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest

from edgephys.core.figure import FigureStage
from edgephys.core.fixed import Fixed, Overflow, Rounding
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import Constant, Dense, Input, Requantise, Scale
from edgephys.project import read
from edgephys.targets.hls import estimate
from edgephys.targets.registry import TARGETS
from edgephys.targets.target import ToolRuns


@pytest.fixture
def emitted(projects):
    return read(projects / "hls").emitted


def test_the_fit_meets_each_published_network_without_having_seen_it():
    total, single = estimate.deviation()
    assert 0.08 < total < 0.09 and 0.6 < single < 0.61
    assert len(estimate.PUBLISHED) == 15 and 1.0 < estimate.adder_lut() < 1.2


def test_the_estimate_is_labelled_with_its_stage_and_its_errors(emitted):
    first, *layers = estimate.figures(emitted)
    assert first.name == estimate.NAME and first.stage is FigureStage.ESTIMATED and first.value > 0
    assert "within 8 %, single layers within 61 %; logic synthesis counts 2.2 to 2.4 times fewer" in first.target
    assert first.value == sum(figure.value for figure in layers) and all("." in figure.name for figure in layers)


def test_a_product_costs_its_signed_digits_and_a_rounding_its_bits():
    wide, narrow = Fixed(True, 20, 10), Fixed(True, 8, 4, Rounding.RND, Overflow.SAT)
    weights = Constant(np.array([[0, 7], [5, -8]]), 0)  # 0, 8 - 1, 4 + 1 and -8: five digits
    shapes = {"x": (3, 2), "y": (3, 2), "z": (3, 2)}
    nodes = (
        Node("x", Input(), (), shapes["x"], Fixed(True, 8, 4), "x"),
        Node("y", Dense(weights), ("x",), shapes["y"], wide, "layer"),
        Node("z", Requantise(), ("y",), shapes["z"], narrow, "layer"),
    )
    lut = estimate.by_layer(Graph("g", nodes, ("x",), ("z",)))
    rounded = 20_747 / 256 / 16 * prod(shapes["z"]) * 20
    assert lut == {"layer": pytest.approx(estimate.adder_lut() * 3 * 5 * 20 + rounded)}


def test_a_scale_costs_a_row_of_adders_fewer_and_a_power_of_two_nothing():
    nodes = (
        Node("x", Input(), (), (2, 3), Fixed(True, 8, 4), "x"),
        Node("y", Scale(Constant(np.array([1, 4, 7]), 0)), ("x",), (2, 3), Fixed(True, 12, 8), "mean"),
    )
    lut = estimate.by_layer(Graph("g", nodes, ("x",), ("y",)))
    assert lut == {"mean": pytest.approx(estimate.adder_lut() * 2 * 12)}


def test_what_no_published_report_has_is_not_estimated_and_named(emitted, monkeypatch):
    (stream,) = estimate.figures(replace(emitted, facts={**emitted.facts, "io": "stream"}))
    assert stream.value is None and "a stream shares its logic over pixels" in stream.why
    monkeypatch.setattr(estimate, "FREE", ())
    (unknown,) = estimate.figures(emitted)
    layer = emitted.graph.input.layer
    assert unknown.why == f"no published report to estimate from: layer '{layer}' has the operation input"


def test_the_report_of_a_vendor_stands_before_the_estimate(emitted):
    names = [figure.name for figure in TARGETS["hls"].figures(emitted, ToolRuns(), lambda _: None)]
    assert names.index("lut") < names.index(estimate.NAME)
