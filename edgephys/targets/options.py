"""Options of a target, each declared once with its default, unit, choices and help; the command line shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import NoneType
from typing import Any, get_args, get_type_hints

from edgephys.core.errors import UsageError


@dataclass(frozen=True)
class Option:
    """Describe an option for the command line; ``default_text`` says what the default is where it is no number or word.

    ``kind`` is the type of its value, ``words`` what may be written in place of one.
    """

    name: str
    kind: type
    help: str
    default_text: str
    words: Mapping[str, Any] = field(default_factory=dict)

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        return f"--{self.name.replace('_', '-')}"

    def value(self, stated: Any) -> Any:
        """Return the value of a word, and anything else as it is."""
        return self.words.get(stated, stated) if isinstance(stated, str) else stated

    def parsed(self, text: str) -> Any:
        """Return the value of a text of the command line.  Raises: ValueError for one that is none."""
        return self.words[text] if text in self.words else self.kind(text)


def option(
    default: Any,
    text: str,
    *,
    unit: str = "",
    choices: Sequence[str] = (),
    default_text: str = "",
    words: Mapping[str, Any] | None = None,
) -> Any:
    """Return the field of an options record: ``text`` is the help, without the unit, the choices and the default.

    ``words`` may be written in place of values.
    """
    text_of = f"{text} in {unit}" if unit else text
    if choices:
        text_of = f"{text_of}: {', '.join(choices[:-1])} or {choices[-1]}"
    shown = default_text or (f"{default:g}" if isinstance(default, float) else str(default))
    said = {"help": text_of, "choices": tuple(choices), "default_text": shown, "words": dict(words or {})}
    return field(default=default, metadata=said)


def declared(record: type) -> tuple[Option, ...]:
    """Return the options that a record declares, in its order.

    Raises: UsageError for a field that was not declared by ``option``.
    """
    types = get_type_hints(record)
    options = []
    for entry in fields(record):
        if "help" not in entry.metadata:
            raise UsageError(f"{record.__name__}.{entry.name}: expected a field made by option(default, help text)")
        kinds = [kind for kind in get_args(types[entry.name]) if kind is not NoneType] or [types[entry.name]]
        said = entry.metadata
        options.append(Option(entry.name, kinds[0], said["help"], said["default_text"], said["words"]))
    return tuple(options)


def require_choices(record: Any) -> None:
    """Raise UsageError for a value that is not among the choices of its option."""
    for entry in fields(record):
        choices, value = entry.metadata["choices"], getattr(record, entry.name)
        if choices and value not in choices:
            words = " or ".join(choices) if len(choices) == 2 else f"one of {', '.join(choices)}"
            raise UsageError(f"{entry.name} must be {words}, not '{value}'")
