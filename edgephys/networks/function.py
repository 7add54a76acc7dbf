"""A network that a function of a user's script returns: the function's arguments are its settings."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from edgephys.core.errors import EdgephysError, ModelError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.networks.joined import joined
from edgephys.networks.network import Net

AUTO = "auto"
KINDS = (int, float, str, bool)
"""Types that an argument of the function can have, or a list of one of them."""


@dataclass(frozen=True)
class FunctionNet(Net):
    """State a network that a function returns.

    ``task`` and ``input_format`` may be "auto": the data decide, the format in ``input_bits`` bits. ``network_input``
    and ``network_output`` are the shapes of the built network, ``network_ending`` is a softmax or sigmoid at its end.
    ``network_inputs`` are the shapes of several inputs of the function's model, which are joined into one, by name.
    """

    returned_by: ClassVar[Callable[..., Any]]
    arguments: ClassVar[tuple[str, ...]] = ()
    network_function: str = "model"
    task: str = AUTO
    input_format: str = AUTO
    network_input: tuple[int, ...] = ()
    network_output: tuple[int, ...] = ()
    network_ending: str = ""
    network_inputs: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_format != AUTO:
            Fixed.of_text(self.input_format)

    def build(self) -> Any:
        """Return the untrained Keras model that the function returns, with its inputs joined into one.

        Raises: as ``returned``.
        """
        return joined(self.returned(), self.where)

    def returned(self) -> Any:
        """Return the untrained Keras model as the function returns it.

        Raises: UsageError for what goes wrong in the function; ModelError for a model that cannot be trained here.
        """
        from edgephys.networks.backend import keras

        where = self.where
        try:
            model = type(self).returned_by(**{name: getattr(self, name) for name in self.arguments})
        except EdgephysError:
            raise
        except (Exception, SystemExit) as error:  # whatever the function does wrong is the script's, not ours
            raise UsageError(f"{where}: {type(error).__name__}: {error}; mend the script") from error
        if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
            raise ModelError(
                f"{where}: expected a Keras model with stated inputs, found {type(model).__name__}; return "
                "keras.Model(inputs, outputs)"
            )
        for what, tensors in (("inputs of stated shapes", model.inputs), ("1 output of a stated shape", model.outputs)):
            several = tensors is model.outputs and len(tensors) != 1
            if several or any(None in tensor.shape[1:] for tensor in tensors):
                raise ModelError(
                    f"{where}: expected a model with {what}, found "
                    f"{', '.join(str(tuple(tensor.shape)) for tensor in tensors)}; "
                    f"{'join them within the model' if several else 'state every length in keras.Input'}"
                )
        return model

    @property
    def where(self) -> str:
        """Name the function in messages."""
        return f"function '{self.network_function}'"

    @property
    def size(self) -> int:
        """Numbers of an example."""
        return prod(self.network_input)

    @property
    def label(self) -> str:
        """Name the width where it is an argument of the function."""
        return self.precision if "bits" in self.arguments else ""

    @property
    def input(self) -> Fixed:
        """Format of the input: of ``input_bits`` and ``input_integer`` until the data decide."""
        if self.input_format == AUTO:
            return super().input
        stated = Fixed.of_text(self.input_format)
        return Fixed(stated.signed, stated.bits, stated.integer, Rounding.RND_CONV, Overflow.SAT)


def of_function(function: Callable[..., Any], settings: Iterable[str]) -> FunctionNet:
    """Return the network of a function, with a field for each of its arguments.

    ``settings`` are names that mean something else in a recipe.
    Raises: UsageError for an argument without a default or of another type, or with such a name.
    """
    fixed = {"network_function", "network_input", "network_inputs", "network_output", "network_ending"}
    reserved = fixed | {"task", "input_format", *settings}
    arguments = {}
    for name, default in _defaults(function).items():
        if name in reserved:
            raise UsageError(f"function '{function.__name__}': argument '{name}' is a setting of training; rename it")
        arguments[name] = default
    widths = {"bits", "activation_bits", "input_integer", "weight_integers"} - arguments.keys()
    kind = dataclasses.make_dataclass(
        "FunctionNet",
        [(name, hint, dataclasses.field(default=value)) for name, (hint, value) in arguments.items()],
        bases=(FunctionNet,),
        frozen=True,
        namespace={
            "returned_by": staticmethod(function),
            "arguments": tuple(arguments),
            "settled": frozenset(fixed | widths),
        },
    )
    without_bits: dict[str, Any] = {} if "bits" in arguments else {"bits": None}
    net: FunctionNet = kind(network_function=function.__name__, **without_bits)
    return net


def _defaults(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Return type and default of each argument of a function."""
    try:
        hints = typing.get_type_hints(function)
    except NameError:  # a type that is only known to the checker
        hints = {}
    defaults = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = parameter.default
        if value is parameter.empty or parameter.kind is parameter.POSITIONAL_ONLY:
            raise UsageError(f"function '{function.__name__}': argument '{name}' must have a default, such as 8")
        hint = _known(hints.get(name, type(value)), value)
        if hint is None:
            raise UsageError(
                f"function '{function.__name__}': argument '{name}' must be a number, a word, a truth value or a list "
                f"of them, not {value!r}; annotate it, or leave it out"
            )
        defaults[name] = hint, tuple(value) if isinstance(value, list) else value
    return defaults


def _known(hint: Any, value: Any) -> Any:
    """Return the type of a field for an argument's type and default; None where there is none."""
    if hint in KINDS:
        return hint
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [part for part in parts if part is not type(None)]
        return hint if len(inner) == 1 and len(parts) == 2 and inner[0] in KINDS else None
    if hint in (list, tuple) or typing.get_origin(hint) in (list, tuple):
        items = {part for part in parts if part is not ...} or {type(item) for item in value}
        if len(items) == 1 and items <= set(KINDS):
            return tuple.__class_getitem__((items.pop(), ...))
    return None
