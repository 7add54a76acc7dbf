"""A function that is kept as its steps is the function, whatever is done to it."""

import numpy as np
from hypothesis import given, strategies

from edgephys.models.files.functions.steps import Steps


@given(strategies.integers(0, 1 << 16), strategies.integers(-9, 9), strategies.integers(1, 40))
def test_steps_give_the_results_they_were_made_of_and_so_do_their_parts_and_mirrors(seed, low, count):
    generator = np.random.default_rng(seed)
    results = generator.integers(-2, 3, (count, int(generator.integers(1, 4))))
    x = np.arange(low, low + count)
    steps = Steps.of_results(low, results)
    expected = results if steps.channels > 1 else results[:, :1]
    assert np.array_equal(steps(x), expected)
    assert (steps.lowest, steps.highest, steps.count) == (results.min(), results.max(), count)
    assert np.array_equal(steps.mirrored()(-x), expected)
    assert np.array_equal(steps.less(expected[0])(x), expected - expected[0])
    begin, end = sorted(generator.integers(0, count, 2))
    assert np.array_equal(steps.part(x[begin], x[end])(x[begin : end + 1]), expected[begin : end + 1])
    for channel in range(steps.channels):
        at, values = steps.ends(channel)
        assert np.array_equal(expected[at - low, channel], values)
        assert np.array_equal(
            next(own for number, own in enumerate(steps.each()) if number == channel)(at)[:, 0], values
        )
