"""Atomic writes, locks, and the digests that name contents."""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from run.disk import as_disk_full
from run.errors import UserError, above, quoted
from run.ranks import this_rank
from run.text import defused, redacted

MOST_JSON = 64 * 2**20
"""Bytes of a JSON file that is not about images: a certificate of a thousand labels has a tenth of it."""

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` and move it there once the block has ended without an error.

    Works for a file or a folder, and replaces one that stands at ``path``. A killed process leaves only the temporary,
    whose name starts with ``.partial-``.

    Raises:
        DiskFullError: there is no room.
    """
    number = this_rank().number  # processes that write the same file each have their own temporary
    partial = path.parent / f".partial-{f'{number}-' if number else ''}{path.name}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(partial)
        yield partial
        _put(partial, path)
    except Exception as error:
        if full := as_disk_full(error, path):
            raise full from error
        raise
    finally:
        remove(partial)


def _put(partial: Path, path: Path) -> None:
    if partial.is_dir():
        replaced = path.parent / f".partial-old-{path.name}"  # a folder cannot be replaced in one step
        remove(replaced)
        if path.exists():
            path.rename(replaced)
        partial.rename(path)
        remove(replaced)
    else:
        # The bytes before the name: a power cut must not leave an empty file. Windows syncs only what may be written.
        with partial.open("r+b" if os.name == "nt" else "rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)


def remove(path: Path) -> None:
    """Delete a file or a folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock of the operating system, which lets go of it however this process ends; the file means nothing.

    Raises:
        TimeoutError: another process holds it, and this one does not wait.
        UserError: it is a symbolic link, which somebody may have put there.
    """
    from filelock import FileLock

    if path.is_symlink():  # one that is put there later is not followed either: the lock fails
        raise UserError(f"{quoted(path)} is a symbolic link, and links are not followed there: remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, timeout=-1 if wait else 0):
        yield


def require_no_links(root: Path | os.DirEntry[str]) -> None:
    """Refuse a folder that is a symbolic link, or has one at any depth: what is written would land elsewhere."""
    if root.is_symlink():
        raise UserError(
            f"{quoted(os.fspath(root))} is a symbolic link: inside the folder of runs none is followed. Put the files "
            "themselves there; for another disk, let outputs itself be the link"
        )
    # scandir knows a link without asking for each file: a run may have a million.
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.is_symlink() or entry.is_dir():
                require_no_links(entry)


def make_private(path: Path) -> None:
    """Make an empty file that only this user may read, for what is then written into it."""
    path.touch(0o600)
    path.chmod(0o600)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, without the credentials in its addresses: it is read, and passed on, by people."""
    with atomic_path(path) as partial:
        partial.write_text(redacted(text), encoding="utf-8")


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write a table atomically: no credentials of addresses, and nothing that a spreadsheet takes for a formula."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for row in rows:
            writer.writerow(defused(redacted(cell)) if isinstance(cell, str) else cell for cell in row)


def write_json(path: Path, value: Json) -> None:
    """Write indented JSON atomically; NaN and infinity are refused, because JSON has no such thing."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file; null where it is not there or is damaged, which is as good as not there."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def json_of(path: Path, remedy: str) -> Any:
    """The value in a JSON file that others may have written.

    Args:
        remedy: what to do where it is none, for the message.

    Raises:
        UserError: it is no regular file, larger than ``MOST_JSON``, or no JSON.
    """
    if not path.is_file():  # a pipe would wait for its writer, and a device may never end
        raise UserError(f"{quoted(path)} does not exist, or is no regular file: {remedy}")
    try:
        with path.open("rb") as file:
            data = file.read(MOST_JSON + 1)
    except OSError as error:
        raise UserError(f"{quoted(path)} cannot be read: {error.strerror}") from error
    if len(data) > MOST_JSON:
        raise UserError(above(quoted(path), "the file", MOST_JSON))
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{quoted(path)} is not JSON ({error}): {remedy}") from None


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(value: Json) -> str:
    """SHA-256 of a value's canonical JSON (sorted keys, no spaces), in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
