"""Model cards: how a model came to be, the data, the versions and the metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from edgephys.core.errors import ModelError
from edgephys.core.files import json_text
from edgephys.core.fixed import Fixed
from edgephys.core.names import require_name
from edgephys.core.reading import UNREADABLE, fault, read_json, require_types, sha256
from edgephys.core.remedies import train_again, train_one
from edgephys.models.files.softmax import MeasuredSoftmax, SoftmaxForm, form_of
from edgephys.models.standardise import Standardisation, from_record

CARD = "card.json"
REQUIRED = ("name", "seed", "classes", "parameters", "metrics", "recipe", "versions", "standardisation")
"""Keys that every card has."""
TYPES: dict[str, type | tuple[type, type]] = {
    "name": str,
    "parameters": int,
    "epochs_run": int,
    "seed": int,
    "classes": (list, str),
    "compression": (list, dict),
    "digest": str,
    "files": (dict, str),
    "versions": (dict, str),
}
TYPES |= dict.fromkeys(("metrics", "recipe", "data", "start", "standardisation", "imported"), dict)
"""Types of the fields of a card, as JSON has them."""
TYPES_WITHIN: dict[str, dict[str, type | tuple[type, type]]] = {
    "recipe": {"script": str, "net": dict, "batch": int},
    "start": {"name": str, "epochs_run": int},
    "data": {"fields": dict},
}
"""Types of the fields of a card's tables."""
VALIDATION = "validation_"
"""Prefix of the key of the validation score."""

OPTIONAL = frozenset({"softmax", "approximated"})
"""Keys of an imported model's card that most do not have."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class ImportedFile:
    """State the file that a model was imported from, and how its Graph was proven against it.

    ``softmax`` is the record of the form of softmaxes, where another than the default one was stated. ``approximated``
    are the records of those that are computed, with their differences to the framework's float softmaxes.
    """

    file: str
    sha256: str
    producer: str
    opset: int | None
    operators: int
    input_format: str
    dropped: Sequence[str]
    vectors: str
    labels: str
    outputs_compared: int
    mismatches: int
    softmax: Record | None = None
    approximated: Sequence[Record] = ()

    def to_record(self) -> dict[str, Any]:
        """Return the record of the card; what is not stated is left out."""
        record = asdict(self)
        return {name: value for name, value in record.items() if name not in OPTIONAL or value}


@dataclass(frozen=True, kw_only=True)
class Card:
    """State how a model came to be and what it does; the fields are the keys on disk, in their order.

    What only trained, compressed or imported models have is None in others; the recipe of an imported model is empty.
    ``validation`` is the validation score by its name, ``metrics`` are those of the test examples. ``start`` names the
    model whose weights training began with. ``compression`` has a row for each stage. ``files`` are the SHA-256 of the
    model's other files. ``other`` keeps keys that we do not write.
    """

    name: str
    parameters: int
    seconds: float | None = None
    epochs_run: int | None = None
    validation: Mapping[str, float] = field(default_factory=dict)
    logit_scale: float | None = None
    metrics: Record
    classes: Sequence[str]
    recipe: Record
    seed: int | None
    data: Record | None = None
    versions: Mapping[str, str]
    machine: Any = None
    start: Record | None = None
    standardisation: Standardisation | None
    compression: Sequence[Record] | None = None
    digest: str | None = None
    files: Mapping[str, str] | None = None
    imported: ImportedFile | None = None
    other: Record = field(default_factory=dict)

    @property
    def net(self) -> Record:
        """The recipe's network; empty where the card states none."""
        return dict(self.recipe.get("net", {}))

    @property
    def input_format(self) -> Fixed:
        """Format of the model's input; raise ModelError where the card states none."""
        if self.standardisation is not None:
            return self.standardisation.output
        if self.imported is not None:
            return Fixed.of_text(self.imported.input_format)
        raise ModelError(f"model '{self.name}': its card must state a standardisation; {train_again()}")

    @property
    def softmax(self) -> SoftmaxForm:
        """How softmaxes of an imported model are computed."""
        return form_of(self.imported.softmax if self.imported else None)

    @property
    def approximated(self) -> tuple[MeasuredSoftmax, ...]:
        """Softmaxes of an imported model that are computed in integers of their own."""
        return tuple(MeasuredSoftmax(**record) for record in (self.imported.approximated if self.imported else ()))

    @property
    def scale(self) -> float:
        """Factor by which the logits must be multiplied: other than 1 where training began with an equalised model."""
        return 1.0 if self.logit_scale is None else float(self.logit_scale)

    def to_record(self) -> dict[str, Any]:
        """Return the card as plain JSON types."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        values["standardisation"] = None if self.standardisation is None else self.standardisation.to_record()
        values["recipe"] = self.recipe or None
        values["imported"] = None if self.imported is None else self.imported.to_record()
        scores = {f"{VALIDATION}{name}": score for name, score in values.pop("validation").items()}
        other = values.pop("other")
        record: dict[str, Any] = {}
        for name, value in values.items():
            if name == "logit_scale":
                record |= scores
            if value is not None or name in REQUIRED:
                record[name] = value
        if self.imported is not None:
            names = (*REQUIRED[:6], "standardisation", "versions", "files", "imported")
            record = {name: record[name] for name in names if name in record}
        return {**record, **other}

    @classmethod
    def of_record(cls, record: Record) -> Card:
        """Return the card of a record; raise ValueError where a key is missing."""
        missing = set(REQUIRED) - set(record)
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        require_types(record, TYPES)
        for table, types in TYPES_WITHIN.items():
            require_types(record.get(table) or {}, types)
        require_name("name", record["name"])
        for what in ("classes", "files"):
            for name in record.get(what) or ():
                require_name(what, name)
        known = {entry.name for entry in fields(cls)} - {"validation", "other"}
        values = {name: value for name, value in record.items() if name in known}
        scores = {name: value for name, value in record.items() if name.startswith(VALIDATION)}
        values["recipe"] = record["recipe"] or {}
        if record["standardisation"] is not None:
            values["standardisation"] = from_record(record["standardisation"])
        if "imported" in record:
            values["imported"] = ImportedFile(**record["imported"])
        return cls(
            **values,
            validation={name.removeprefix(VALIDATION): value for name, value in scores.items()},
            other={name: value for name, value in record.items() if name not in known and name not in scores},
        )


def read_card(folder: Path, remedy: str | None = None) -> Card:
    """Return the card of a model's folder; raise ModelError, ending in ``remedy``, where it is damaged."""
    path = folder / CARD
    if not path.is_file():
        raise ModelError(f"{folder}: expected a model's folder with {CARD}; {train_one()}")
    try:
        return Card.of_record(read_json(path))
    except (*UNREADABLE, ModelError) as error:
        raise ModelError(
            f"{path}: expected a model card in JSON, found {fault(error)}; {remedy or train_again(folder)}"
        ) from error


def write_card(card: Card, folder: Path) -> None:
    """Write a card, with the digests of the model's other files, into a folder in which these are written already."""
    (folder / CARD).write_text(json_text(replace(card, files=digests_of(folder)).to_record()))


def with_softmaxes(card: Card, form: SoftmaxForm | None, approximated: tuple[MeasuredSoftmax, ...]) -> Card:
    """Return the card of a model with the softmaxes that are computed, and the form that was stated for them."""
    if card.imported is None or (form is None and not approximated):
        return card
    stated = None if form is None or form == SoftmaxForm() else form.to_record()
    records = [asdict(one) for one in approximated]
    return replace(card, imported=replace(card.imported, softmax=stated, approximated=records))


def digests_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a model's folder but the card, by name."""
    return {path.name: file_digest(path) for path in sorted(folder.iterdir()) if path.is_file() and path.name != CARD}


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    return sha256(path).hex()


def changed_files(card: Card, folder: Path) -> tuple[str, ...]:
    """Return a message for each file in a model's folder whose bytes are not those that its card states.

    A file that is not there is not compared: a project carries no held-out vectors of the model.
    """
    return tuple(
        f"{folder / name}: expected the bytes whose SHA-256 {CARD} states, {digest[:12]}, found others; restore the "
        "file, or make the model again"
        for name, digest in (card.files or {}).items()
        if (folder / name).is_file() and file_digest(folder / name) != digest
    )


def require_own_files(card: Card, folder: Path) -> None:
    """Raise ModelError naming the file in a model's folder whose bytes are not those that its card states."""
    for message in changed_files(card, folder):
        raise ModelError(message)


def doubt(card: Card, folder: Path) -> str | None:
    """Return why the figures of a card do not belong to the model beside it; None where its digests hold."""
    if not card.files:
        return f"{CARD} states no digests of the model's files; `python models/state_digests.py` adds them"
    return next(iter(changed_files(card, folder)), None)
