"""Atomic writes, and the digests that name contents."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from run.ranks import this_rank

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` and move it there once the block has ended without an error.

    Works for a file or a folder, and replaces one that stands at ``path``. A killed process leaves only the temporary,
    whose name starts with ``.partial-``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number = this_rank().number  # processes that write the same file each have their own temporary
    partial = path.parent / f".partial-{f'{number}-' if number else ''}{path.name}"
    remove(partial)
    try:
        yield partial
        if partial.is_dir():
            replaced = path.parent / f".partial-old-{path.name}"  # a folder cannot be replaced in one step
            remove(replaced)
            if path.exists():
                path.rename(replaced)
            partial.rename(path)
            remove(replaced)
        else:
            with partial.open("rb") as file:  # the bytes before the name: a power cut must not leave an empty file
                os.fsync(file.fileno())
            partial.replace(path)
    finally:
        remove(partial)


def remove(path: Path) -> None:
    """Delete a file or a folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Json) -> None:
    """Write indented JSON atomically; NaN and infinity are refused, because JSON has no such thing."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(value: Json) -> str:
    """SHA-256 of a value's canonical JSON (sorted keys, no spaces), in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
