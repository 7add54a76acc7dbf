"""The LUTs of each layer in a report: most first, with their share of the design and of the part."""

from types import SimpleNamespace

import pytest

from edgephys.targets import capacity
from edgephys.targets.rtl.figures import of_modules

PART = "xcvu13p-flga2577-2-e"


def modular(**sizes):
    """Return a synthesis of modules, each with (LUTs, copies)."""
    cells = {
        name: SimpleNamespace(cells=SimpleNamespace(lut=lut), copies=copies) for name, (lut, copies) in sizes.items()
    }
    return SimpleNamespace(per_module=cells, target="AMD UltraScale+", tool="yosys", version="0.70")


def shares(part=PART, **sizes):
    return of_modules(SimpleNamespace(part=part), modular(**sizes))


def test_the_layer_that_costs_most_stands_first_with_its_copies_counted():
    figures = shares(pool=(300, 1), phi=(100, 8), rho=(0, 1))
    assert [(figure.name, figure.value) for figure in figures] == [("lut.phi", 800), ("lut.pool", 300), ("lut.rho", 0)]


def test_each_layer_states_its_share_of_the_design_and_of_the_part():
    first, second = shares(phi=(100, 8), pool=(200, 1))
    whole = capacity.lut6(PART)
    assert first.target == f"AMD UltraScale+, phi, 8 copies; 80.0% of all, {800 / whole:.2%} of xcvu13p"
    assert "pool, 1 copy; 20.0% of all" in second.target


@pytest.mark.parametrize("part", ["LFE5U-85F", "somebody's part"])
def test_a_part_that_is_not_listed_gives_the_share_of_the_design_alone(part):
    assert shares(part, phi=(100, 1))[0].target.endswith("phi, 1 copy; 100.0% of all")


def test_a_design_without_luts_has_no_shares():
    assert shares(wires=(0, 2))[0].target == "AMD UltraScale+, wires, 2 copies"
