"""Functions run over images on all cores, in chunks that a killed run goes on from."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.decode import decode
from data.manifest import Manifest
from data.storage import read_bytes
from export.runtime import Picture
from run.console import progress
from run.errors import UserError, quoted
from run.files import atomic_path, json_digest
from run.usage import usable_cores

CHUNK = 64
"""Images that a killed run computes again at most."""

Function = Callable[[Picture], NDArray[np.float32]]
"""From an image to numbers [K]."""
Found = Sequence[NDArray[np.float32]]


def run_over(
    images: Manifest, functions: Mapping[str, Function], folder: Path, workers: int | None = None
) -> dict[str, NDArray[np.float32]]:
    """Run every function over every image, which is read, decoded and prepared once. This may take hours.

    Args:
        functions: by a name that stands for everything the result depends on, such as a file's digest.
        folder: keeps the results, by function and images: what is there is not computed again.
        workers: threads; null takes every core. The results do not depend on it.

    Returns:
        By name [N, K].

    Raises:
        UserError: an image is not the one that the manifest was made of.
    """
    chunks = list(_chunks(images, folder))
    todo = [(chunk, [name for name in functions if not chunk.path(name).is_file()]) for chunk in chunks]
    todo = [(chunk, names) for chunk, names in todo if names]

    def run_one(task: tuple[str, str, list[str]]) -> Found:
        uri, image_id, names = task
        picture = Picture(_read(uri, image_id))
        return [functions[name](picture) for name in names]

    tasks = [(uri, image_id, names) for chunk, names in todo for uri, image_id in chunk.images]
    pool = ThreadPoolExecutor(workers or usable_cores())
    try:
        with progress("measuring images", len(tasks)) as advance:
            # All are handed over at once: at the end of a chunk, no core waits for the last of its images.
            results = pool.map(run_one, tasks)
            for chunk, names in todo:
                chunk.write(names, _counted(islice(results, len(chunk.images)), advance))
    finally:
        # An error or an interrupt must not wait for thousands of images that are still queued.
        pool.shutdown(cancel_futures=True)
    return {name: np.concatenate([np.load(chunk.path(name)) for chunk in chunks]) for name in functions}


@dataclass(frozen=True)
class _Chunk:
    folder: Path
    images: Sequence[tuple[str, str]]
    """URI and digest of each."""
    digest: str

    def path(self, function: str) -> Path:
        return self.folder / function / f"{self.digest}.npy"

    def write(self, functions: Sequence[str], rows: Iterator[Found]) -> None:
        for function, values in zip(functions, zip(*rows, strict=True), strict=True):
            with atomic_path(self.path(function)) as partial, partial.open("wb") as file:
                np.save(file, np.stack(values), allow_pickle=False)


def _chunks(images: Manifest, folder: Path) -> Iterator[_Chunk]:
    pairs = list(zip(images.column("uri"), images.column("image_id"), strict=True))
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        yield _Chunk(folder, part, json_digest([image_id for _, image_id in part])[:16])


def _counted(rows: Iterator[Found], advance: Callable[[int], None]) -> Iterator[Found]:
    for row in rows:
        advance(1)
        yield row


def _read(uri: str, image_id: str) -> Image.Image:
    try:
        data = read_bytes(uri)
    except OSError as error:
        raise UserError(f"{quoted(uri)} cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != image_id:
        raise UserError(f"{quoted(uri)} is not the file that it was: run `pocketeva prepare` again")
    return decode(data)
