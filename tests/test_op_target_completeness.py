"""Every target has a rule for every operation, or a refusal that says what would work."""

import pytest

from edgephys.graph.ops import OPS, Elementwise
from edgephys.targets.registry import TARGETS
from edgephys.targets.rules import Refusal


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("word", OPS)
def test_a_target_states_a_rule_or_a_worded_refusal_for_an_operation(word, target):
    operation, rules = OPS[word], TARGETS[target].rules()
    entry = rules.entry(operation)
    assert rules.target == target
    assert entry is not None, (
        f"target {target} has no rule for {operation.__name__}: add one, or a Refusal, to targets/{target}/rules.py"
    )
    assert not isinstance(entry, Refusal) or len(entry.reason.split()) > 3, f"{target}, {word}: say what would work"


@pytest.mark.parametrize("target", TARGETS)
def test_an_operation_that_was_forgotten_has_no_entry(target):
    forgotten = type("Forgotten", (Elementwise,), {})  # no word: it is not registered
    assert TARGETS[target].rules().entry(forgotten) is None


@pytest.mark.parametrize("target", TARGETS)
def test_a_table_has_no_rule_for_what_is_no_operation(target):
    assert TARGETS[target].rules().operations() <= set(OPS.values())
