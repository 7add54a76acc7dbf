"""Every target by name; a target from outside of the package is added by ``register``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgephys.core.errors import UsageError
from edgephys.targets.c.target import CTarget
from edgephys.targets.hls.target import HlsTarget
from edgephys.targets.onnx.target import OnnxTarget
from edgephys.targets.options import declared
from edgephys.targets.qonnx.target import QonnxTarget
from edgephys.targets.rtl.target import RtlTarget
from edgephys.targets.target import Target

TARGETS: dict[str, Target] = {}
"""Every target, in the order in which help and reports name them."""


def register(target: Target) -> None:
    """Add a target: ``edgephys emit --to`` then takes it, and its options.

    Raises: UsageError where the name is taken, its options belong to another target or are not declared, or an option
    has another type in another target.
    """
    if target.name in TARGETS:
        raise UsageError(f"target {target.name}: a target of that name is registered already; choose another name")
    types = {option.name: option.kind for other in TARGETS.values() for option in declared(other.options)}
    for option in declared(target.options):
        if types.get(option.name, option.kind) is not option.kind:
            raise UsageError(
                f"target {target.name}: {option.flag} must be of type {types[option.name].__name__} as in other "
                f"targets, not {option.kind.__name__}"
            )
    if any(other.options is target.options for other in TARGETS.values()):
        raise UsageError(f"target {target.name}: its options belong to another target; give it a record of its own")
    TARGETS[target.name] = target


for _target in (HlsTarget(), RtlTarget(), CTarget(), OnnxTarget(), QonnxTarget()):
    register(_target)


def named(name: str) -> Target:
    """Return a target; raise UsageError where there is none of that name."""
    if name not in TARGETS:
        raise UsageError(f"--to must be one of {', '.join(TARGETS)}, not {name}")
    return TARGETS[name]


def options_of(name: str, values: Mapping[str, Any]) -> Any:
    """Return a target's options from values by name; None stands for an option that was left out.

    Raises: UsageError for an option of other targets, and as the options do.
    """
    target = named(name)
    stated = {option: value for option, value in values.items() if value is not None}
    for option in stated:
        if option not in target.settings:
            others = " or ".join(other for other, entry in TARGETS.items() if option in entry.settings)
            flag = f"--{option.replace('_', '-')}"
            raise UsageError(f"{flag} goes with --to {others}, not with --to {name}; leave it out")
    declared_options = {option.name: option for option in declared(target.options)}
    return target.options(**{name: declared_options[name].value(value) for name, value in stated.items()})


def target_of(options: Any) -> Target:
    """Return the target that an options record belongs to."""
    return next(target for target in TARGETS.values() if type(options) is target.options)
