"""A table of rules gives each operation's rule, or an error that says what to do."""

import pytest

from edgephys.core.errors import ModelError, UsageError
from edgephys.targets.rules import Refusal, RuleTable


class Shift:
    pass


class ShiftLeft(Shift):
    pass


def table():
    return RuleTable("toy", {Shift: "shift", int: Refusal("whole numbers have no form here; use Shift")})


def test_an_operation_has_the_rule_of_its_class():
    assert table().lookup(Shift(), "a") == "shift"


def test_a_refusal_names_the_layer_and_what_would_work():
    with pytest.raises(ModelError, match=r"layer 'a': whole numbers have no form here; use Shift"):
        table().lookup(3, "a")


def test_an_unknown_operation_names_itself_the_layer_the_target_and_what_to_do():
    with pytest.raises(ModelError, match=r"layer 'a': target toy has no rule for operation float; register one"):
        table().lookup(1.0, "a")


def test_a_subclass_does_not_inherit_a_rule_whose_numbers_may_differ():
    with pytest.raises(ModelError, match="no rule for operation ShiftLeft"):
        table().lookup(ShiftLeft(), "a")


def test_a_rule_is_registered_from_outside_and_only_once():
    rules = table()
    rules.register(float, "real")
    assert rules.lookup(1.0, "a") == "real"
    with pytest.raises(UsageError, match="float: target toy has a rule for it already"):
        rules.register(float, "again")
