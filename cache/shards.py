"""Shards: files of a view cache, each whole and right, or absent.

A shard is ``NAME.npy`` (values [images, views, width] in float16, or records [images, views]) and ``NAME.json`` with
its size and checksum. The JSON is written last and makes the shard count. The name says which images and views are in
it, so that whoever makes it, whenever, makes the same file.

A shard is read through once by each process before it relies on it, and its checksum compared; after that, looks at its
size and time are enough. Reading maps the file: the system keeps what is used often, and drops the rest at need.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray

from run.console import progress
from run.files import atomic_path, json_digest, write_json

SHOWN_FROM_BYTES = 1_000_000_000
"""Checking more than this shows a progress bar."""

READERS = 4
"""Files that are checked at a time: a file system on the network answers slowly, but many at once."""

_checked: set[tuple[Path, int, int]] = set()
"""Files (path, size, time of change) whose checksum this process found right."""


@dataclass(frozen=True)
class Shard:
    """Views ``start`` to ``stop`` of some images, made in batches of at most ``batch`` images × views."""

    images: tuple[str, ...]
    start: int
    stop: int
    batch: int

    @cached_property
    def name(self) -> str:
        """The file's name, without its ending."""
        return f"{self.start}-{self.stop}-{json_digest(self.images)[:16]}"

    @property
    def shape(self) -> tuple[int, int]:
        """Images and views."""
        return len(self.images), self.stop - self.start

    @property
    def size(self) -> int:
        """Images × views."""
        return len(self.images) * (self.stop - self.start)

    @property
    def images_at_a_time(self) -> int:
        """As many as fit into a batch with all their views; one at least."""
        return max(1, self.batch // (self.stop - self.start))

    def values_path(self, folder: Path) -> Path:
        """The file with its values."""
        return folder / f"{self.name}.npy"


def made_in(folder: Path) -> set[str]:
    """Names of the shards that are there, right or not."""
    return {path.stem for path in folder.glob("[0-9]*.json")}


def write_shard(folder: Path, shard: Shard, values: NDArray[Any]) -> None:
    """Write values [images, views, ...] atomically.

    Raises:
        OSError: for one, the disk is full; nothing is left then.
    """
    assert values.shape[:2] == shard.shape
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    data = stream.getbuffer()
    path = shard.values_path(folder)
    with atomic_path(path) as partial:
        partial.write_bytes(data)
    # The record comes last: it makes the shard count.
    write_json(path.with_suffix(".json"), {"bytes": len(data), "xxh3_128": xxhash.xxh3_128_hexdigest(data)})
    _checked.add(_state(path))


def unsound(folder: Path, shards: Sequence[Shard]) -> set[str]:
    """Names of those that are missing or damaged."""
    made = made_in(folder)
    there = [shard for shard in shards if shard.name in made]
    sizes = [_unchecked_bytes(shard.values_path(folder)) for shard in there]
    shown = sum(sizes) > SHOWN_FROM_BYTES
    with (
        ThreadPoolExecutor(READERS) as pool,
        progress("checking cached megabytes", sum(sizes) // 2**20) if shown else nullcontext(lambda _: None) as advance,
    ):
        names = {shard.name for shard in shards}
        for shard, size, right in zip(there, sizes, pool.map(lambda one: is_sound(folder, one), there), strict=True):
            advance(size // 2**20)
            if right:
                names.discard(shard.name)
    return names


def is_sound(folder: Path, shard: Shard) -> bool:
    """True where a shard is there and its checksum is right."""
    path = shard.values_path(folder)
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        state = _state(path)
        # The size first: it costs nothing and finds every file that was cut short.
        if state[1] != record["bytes"]:
            return False
        if state not in _checked:
            if _checksum(path) != record["xxh3_128"]:
                return False
            _checked.add(state)
        return True
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False  # the values are gone, or the record is cut short or no record at all


def discard(folder: Path, shard: Shard) -> bool:
    """Remove what is left of a shard; true where it had counted as made. Whoever has it mapped keeps the old file."""
    path = shard.values_path(folder)
    counted = path.with_suffix(".json").exists()
    # The record goes first: without it the values count for nothing, even if this process is killed in between.
    path.with_suffix(".json").unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    return counted


def mapped(path: Path) -> NDArray[Any]:
    """A shard's values, memory-mapped.

    ``np.load(mmap_mode="r")`` would keep a file open for each of thousands of shards; torch closes it.
    """
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        offset = file.tell()
    # Mapped without a copy; pages that nobody looks at are never read.
    data = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8).numpy()
    values: NDArray[Any] = data[offset:].view(dtype).reshape(shape)
    return values


def total_size(shards: Iterable[Shard]) -> int:
    """Images × views in all of them."""
    return sum(shard.size for shard in shards)


def _unchecked_bytes(path: Path) -> int:
    if not path.exists() or _state(path) in _checked:
        return 0
    return path.stat().st_size


def _state(path: Path) -> tuple[Path, int, int]:
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()
