"""What a circuit costs in the loss: counted by hand on a small Deep Sets."""

import numpy as np
import pytest

from edgephys.applications.jets.networks.deepsets import DeepSets
from edgephys.compress import learned_widths
from edgephys.compress.cost import CircuitCost
from edgephys.compress.model_structure import kernel_layers

NET = DeepSets(constituents=4, phi=(6,), rho=(5,), bits=6)  # 3 features, 5 classes; the pool keeps 8 bits
CARRY = 1
PHI = 4 * (12 + CARRY)  # copies times the width of the input
RHO, LOGITS = 8 + CARRY, 6 + CARRY


def cost(model, digits, learned=None):
    counts = {of.name: lambda of=of: np.full(of.kernel.shape, digits, "f") for of in kernel_layers(model)}
    return float(CircuitCost(model, 12, learned or {}).adder_bits(counts))


def test_digits_biases_clipping_and_the_pool_are_adders_of_the_width_of_their_data():
    products = 18 * PHI + 30 * RHO + 25 * LOGITS
    biases = 6 * PHI + 5 * RHO + 5 * LOGITS
    clipped = 4 * 6 * 6 + 6 * 8 + 5 * 6
    pool = 3 * 6 * (6 + CARRY)
    model = NET.build()
    assert cost(model, 0) == biases + clipped + pool
    assert cost(model, 2) == 2 * products + biases + clipped + pool


def test_a_learned_width_is_priced_by_all_that_it_makes_wide():
    """A bit more of the input: the digits and the biases of phi; the input's own rounding is no sum's."""
    model = learned_widths.learnable(NET.build(), "tensor", NET.input)
    found = []
    for bits in (12, 11):
        model.get_layer(learned_widths.INPUT).fraction.assign((bits - 4) / learned_widths.PACE)
        found.append(cost(model, 1, learned_widths.learned(model)))
    assert found[0] - found[1] == pytest.approx(4 * (18 + 6))
