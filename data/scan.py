"""The scan: every image is read, hashed and decoded once, in parallel processes; what was found is kept.

The results lie in shards of ``SHARD`` images that are written atomically, so a killed scan goes on where it was, and
a later one reads only images that are new or whose fingerprint changed.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import imagehash
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
from PIL import Image

from data.decode import DecodeError, decode
from data.manifest import OK, write_table
from data.parallel import OrderedMap, in_parallel
from data.storage import CONNECTIONS, is_remote, path_of, read_bytes, shown
from run.console import progress
from run.errors import UserError, listed, plural, quoted
from run.files import json_digest

SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("fingerprint", pa.string()),
        ("image_id", pa.string()),
        ("pixels", pa.string()),
        ("phash", pa.uint64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("status", pa.string()),
    ]
)

Scanned = dict[str, str | int | None]
"""The columns that reading one image gives, as ``scan`` returns them."""

SHARD = 4096
"""Images between two points that a killed scan goes on from."""
GROUP = 64
"""Images of a store that a process downloads and decodes together."""
SMALL = 64
"""Pixels a side that a perceptual hash is taken from; it looks at 32 × 32 of them."""


def scan(listing: pa.Table, folder: Path) -> pa.Table:
    """Read every image of the listing (``uri``, ``fingerprint``) that is new or has changed; this may take hours.

    Returns:
        A row per row of the listing, in its order: ``image_id`` (SHA-256 of the bytes), ``pixels`` (a digest of size
        and decoded pixels), ``phash`` (64-bit perceptual hash), ``width``, ``height``, and ``status``: ``ok``, or why
        the decode contract refuses it; ``pixels`` is then the image_id, and ``phash`` null.

    Raises:
        UserError: files cannot be read, or a process reading them was ended from outside. What was read is kept.
    """
    known = _read(folder)
    todo = listing.filter(pc.is_null(_find(listing, known)))
    if len(todo):
        failed = _scan(todo, folder)
        if failed:
            count = plural(len(failed), "image is", "images are")
            raise UserError(
                f"{count} there but cannot be read; put that right and run the same command again:\n{listed(failed)}"
            )
        known = _read(folder)
    return known.take(_find(listing, known)).drop_columns(["uri", "fingerprint"])


def _read(folder: Path) -> pa.Table:
    shards = [pq.read_table(path, schema=SCHEMA) for path in sorted(folder.glob("*.parquet"))]
    return pa.concat_tables(shards) if shards else SCHEMA.empty_table()


def _find(listing: pa.Table, known: pa.Table) -> pa.Array:
    """The row of ``known`` with the same URI and fingerprint, or null."""
    wanted, have = (
        pc.binary_join_element_wise(table.column("uri"), table.column("fingerprint"), "\n")
        for table in (listing, known)
    )
    return pc.index_in(wanted, value_set=have)


def _scan(todo: pa.Table, folder: Path) -> list[str]:
    """Read these images and write shards; says which could not be read, and why."""
    failed: list[str] = []
    # Groups are handed out one at a time: each is downloaded by many connections.
    remote = is_remote(todo.column("uri")[0].as_py())
    with (
        in_parallel(len(todo), "reading images", 1 if remote else 32) as run,
        progress("reading images", len(todo)) as advance,
    ):
        for start in range(0, len(todo), SHARD):
            files = todo.select(["uri", "fingerprint"]).slice(start, SHARD).to_pylist()
            rows = []
            for file, found in zip(files, _scanned(run, [file["uri"] for file in files]), strict=True):
                advance(1)
                if isinstance(found, OSError):
                    failed.append(f"{quoted(shown(path_of(file['uri'])))}: {found}")
                else:
                    rows.append({**file, **found})
            # A shard is written once its images are read: a kill costs at most one, and a name is never half a file.
            if rows:
                write_table(pa.Table.from_pylist(rows, SCHEMA), folder / f"{json_digest(files)[:16]}.parquet")
    return failed


def _scanned(run: OrderedMap, uris: Sequence[str]) -> Iterator[Scanned | OSError]:
    """Results of the images, in order; those in stores are downloaded side by side."""
    if not any(map(is_remote, uris)):
        return run(scan_image, uris)
    groups = [uris[start : start + GROUP] for start in range(0, len(uris), GROUP)]
    return chain.from_iterable(run(scan_group, groups))


def scan_group(uris: Sequence[str]) -> list[Scanned | OSError]:
    """``scan_image`` of each, with many connections: an image is decoded while others are on their way."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return [_scan_bytes(data) for data in pool.map(_fetched, uris)]


def scan_image(uri: str) -> Scanned | OSError:
    """Read, hash and decode one image; or return why it cannot be read at all, which another time may go well."""
    return _scan_bytes(_fetched(uri))


def _fetched(uri: str) -> bytes | OSError:
    try:
        return read_bytes(uri)
    except OSError as error:
        return error


def _scan_bytes(data: bytes | OSError) -> Scanned | OSError:
    if isinstance(data, OSError):
        return data
    image_id = hashlib.sha256(data).hexdigest()
    try:
        image = decode(data)
    except DecodeError as error:
        return {"image_id": image_id, "pixels": image_id, "phash": None, "width": 0, "height": 0, "status": str(error)}
    return {
        "image_id": image_id,
        "pixels": pixel_digest(image),
        "phash": perceptual_hash(image),
        "width": image.width,
        "height": image.height,
        "status": OK,
    }


def pixel_digest(image: Image.Image) -> str:
    """XXH3 (128 bits) of an RGB image's size and pixels: SHA-256 would take as long as decoding them."""
    digest = xxhash.xxh3_128(f"{image.size}".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def perceptual_hash(image: Image.Image) -> int:
    """64 bits of the low frequencies (imagehash's ``phash``): few differ where one image was resized or re-encoded."""
    # Without the gap this takes longer than decoding.
    small = image.resize((SMALL, SMALL), Image.Resampling.LANCZOS, reducing_gap=2.0)
    bits = imagehash.phash(small).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
