"""Digests of all that decides what a stage makes: a stage is done while its digest is the one in its row.

A digest covers the start model, the data and the seed, and, of every stage up to its own, the parameters and the
content of the files and model folders that they name.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from edgephys.compress.job import CompressionJob
from edgephys.compress.stage import Stage
from edgephys.core.errors import DataError, UsageError
from edgephys.core.names import real_path
from edgephys.core.reading import only_os_errors, read_bytes, sha256
from edgephys.models.card import CARD, read_card
from edgephys.models.trained import MODEL

DECISIVE = ("classes", "recipe", "logit_scale", "standardisation")
"""Keys of a model's card that decide what is trained: the other ones describe how the model came to be."""


def digests(job: CompressionJob) -> list[tuple[str, ...]]:
    """Return the digests with which a row counts as done, for the start model and then for each stage.

    The first one of each is that of a new row. A second one is that of earlier releases, which covered neither cards
    nor training scripts: it counts as long as no stage so far reads a script.
    Raises: OSError where the model or the data cannot be read; UsageError where a stage's file is missing.
    """
    digest = _of_start(job, cards=True)
    earlier: str | None = _of_start(job, cards=False)
    accepted = [(digest, earlier)]
    for stage in job.pipeline.stages:
        digest = _chained(digest, stage, cards=True)
        scripts = any(path.is_file() for _, path in stage.files())
        earlier = None if earlier is None or scripts else _chained(earlier, stage, cards=False)
        accepted.append((digest, earlier))
    return [tuple(one for one in pair if one is not None) for pair in accepted]


def _of_start(job: CompressionJob, cards: bool) -> str:
    """Cover the start model, the data and the seed."""
    digest = hashlib.sha256()
    for content in _model_contents(job.model, cards):
        digest.update(content)
    for path in (job.data, job.test_data):
        if path is not None and not path.exists():
            raise DataError(
                f"{path}: expected the data that the model was trained on, found no such file; check the path, or make "
                "jets or waves: `edgephys data`"
            )
        for file in sorted(path.glob("*.h5")) if path is not None and path.is_dir() else [path] if path else []:
            state = file.stat()
            digest.update(_file_digest(real_path(file), state.st_size, state.st_mtime_ns))
    digest.update(str(job.seed).encode())
    return digest.hexdigest()


def _chained(digest: str, stage: Stage, cards: bool) -> str:
    """Cover one more stage, with the files that it reads."""
    chained = hashlib.sha256(digest.encode())
    chained.update(json.dumps(stage.to_record(), sort_keys=True, default=str).encode())
    for key, path in stage.files():
        if path.is_file():
            chained.update(_content(path))
        elif (path / MODEL).is_file() and (path / CARD).is_file():
            for content in _model_contents(path, cards):
                chained.update(content)
        else:
            raise UsageError(
                f"{key} {path}: no such {'model' if key == 'teacher' else 'file'}; paths are relative to the "
                "pipeline's file"
            )
    return chained.hexdigest()


def _content(path: Path) -> bytes:
    with only_os_errors(path):
        return read_bytes(path)


def _model_contents(folder: Path, cards: bool) -> Iterator[bytes]:
    yield _content(folder / MODEL)
    if cards:
        card = read_card(folder).to_record()
        stated = {key: card.get(key) for key in DECISIVE}
        if "imported" in card:
            stated["input_format"] = card["imported"]["input_format"]
        yield json.dumps(stated, sort_keys=True).encode()


@functools.lru_cache
def _file_digest(file: Path, size: int, changed_ns: int) -> bytes:
    """Return a file's digest: computed once for all jobs of a sweep, as long as the file does not change."""
    return sha256(file)
