"""The listing: what a source says of its images, as one table, before any image is read."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.readers.images import nearest
from data.readers.paths import file_name, parent
from data.readers.record import Record
from data.storage import CONNECTIONS, entries, fingerprint, is_remote, path_of, shown
from run.console import log
from run.errors import UserError, listed, plural

SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("fingerprint", pa.string()),
        ("target", pa.list_(pa.float32())),
        ("votes", pa.list_(pa.float32())),
        ("split", pa.string()),
        ("group", pa.string()),
        ("metadata", pa.map_(pa.string(), pa.string())),
        ("where", pa.string()),
        ("address", pa.string()),
    ]
)

_Listings = Mapping[str, Mapping[str, str]]
"""By folder of a store and name, fingerprints."""
_Mark = str | OSError | None
"""A file's fingerprint, null where it is not there, or what is wrong with it."""
SAID = ("target", "votes", "split", "group", "metadata")
"""Two rows about one image have to agree on these."""

BATCH = 8192
_SHOWN = 10
"""Images that are not there, of which messages say what is there instead."""
WORTH_LISTING = 32
"""Images in one folder of a store from which on the folder is listed, a thousand a request, instead of asking for each:
the folder may hold many more."""


def collect(records: Iterable[Record]) -> pa.Table:
    """All records ordered by URI, one row per URI, with each file's fingerprint.

    Raises:
        UserError: files are not there or are no regular files, two rows about one image differ, or two addresses come
            to one file; the places in the source are named.
    """
    absent: list[Record] = []
    problems: list[str] = []
    recased: list[Record] = []
    batches: list[pa.RecordBatch] = []
    for part, found in _fingerprinted(records):
        recased += (record for record in part if record.recased)
        for record, mark in zip(part, found, strict=True):
            if mark is None:
                absent.append(record)
            elif isinstance(mark, OSError):
                problems.append(f"{record.where}: {mark}")
        # A file that is not there ends nothing: all that are missing are said at once.
        if not (absent or problems):
            columns: dict[str, list[Any]] = {
                name: [getattr(record, name) for record in part] for name in ("uri", *SAID, "where", "address")
            }
            batches.append(pa.RecordBatch.from_pydict({**columns, "fingerprint": found}, SCHEMA))
    _require_all_there(absent, problems)
    if recased:
        first = recased[0]
        log.print(
            f"{plural(len(recased), 'image is', 'images are')} named in another case than the file has: {first.where}, "
            f"{first.address}, is {shown(path_of(first.uri))}",
            soft_wrap=True,
            markup=False,
        )
    table = pa.Table.from_batches(batches, SCHEMA)
    return _one_row_per_uri(table.take(pc.sort_indices(table.column("uri")))).drop_columns(["address"])


def _require_all_there(absent: Sequence[Record], problems: Sequence[str]) -> None:
    if not (absent or problems):
        return
    lines = [*map(_absence, absent[:_SHOWN]), *problems]
    more = len(absent) + len(problems) - min(len(lines), _SHOWN)
    whole = listed(lines[:_SHOWN]) + (f"\n  … and {more:,} more" if more else "")
    if not problems:
        raise UserError(f"{plural(len(absent), 'image')} not found; put them there, or set data.image_root:\n{whole}")
    raise UserError(f"{plural(len(absent) + len(problems), 'image')} not found, or out of reach:\n{whole}")


def _fingerprinted(records: Iterable[Record]) -> Iterator[tuple[list[Record], list[_Mark]]]:
    """The records in pieces, each with what is known of its file."""
    stream = iter(records)
    folders: _Listings = {}
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        while part := list(islice(stream, BATCH)):
            folders = _listings(part, folders, pool)
            remote = any(is_remote(record.uri) for record in part)
            yield part, list((pool.map if remote else map)(partial(_fingerprint, folders), part))


def _listings(part: Sequence[Record], before: _Listings, pool: Executor) -> _Listings:
    """Listings of the stores' folders that many of these images are in; those of the part before are used again."""
    asked = [record.uri for record in part if record.fingerprint is None and is_remote(record.uri)]
    folders = [folder for folder, images in Counter(map(parent, asked)).items() if images >= WORTH_LISTING]
    new = [folder for folder in folders if folder not in before]
    found = dict(zip(new, pool.map(_listed, new), strict=True))
    return {folder: found[folder] if folder in found else before[folder] for folder in folders}


def _listed(folder: str) -> dict[str, str]:
    """By name, the fingerprints in a store's listing, which takes a request for a thousand; web servers have none."""
    try:
        return {entry.name: entry.fingerprint for entry in entries(folder) if entry.fingerprint}
    except OSError:
        return {}  # what is wrong is said of each image


def _fingerprint(folders: _Listings, record: Record) -> _Mark:
    known = record.fingerprint or (folders and folders.get(parent(record.uri), {}).get(file_name(record.uri)))
    if known:
        return known
    # A store may not list what it has, so an image that no listing has is asked about.
    try:
        return fingerprint(record.uri)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error


def _absence(record: Record) -> str:
    """A line about an image that is not there, with the nearest that is."""
    near = nearest(record.uri)
    tried = record.looked_in or record.uri
    place = tried if record.where == tried else f"{record.where}: {tried}"
    return f"{place}; the nearest that is there: {near}" if near else place


def _one_row_per_uri(table: pa.Table) -> pa.Table:
    # The rows are ordered by URI, so repeats stand beside each other.
    uris = table.column("uri").combine_chunks()
    repeated = np.flatnonzero(pc.equal(uris[1:], uris[:-1]).to_numpy(zero_copy_only=False)) + 1
    problems = []
    merged = []
    for row in repeated.tolist():
        first, second = table.slice(row - 1, 2).to_pylist()
        if first["address"] != second["address"]:
            merged.append(f"{first['where']} and {second['where']}: {first['uri']}")
        elif any(first[name] != second[name] for name in SAID):
            problems.append(f"{first['where']} and {second['where']}: {first['uri']}")
    if merged:
        raise UserError(
            f"{plural(len(merged), 'address comes', 'addresses come')} to a file that another one comes to as well, so "
            "neither leading folders nor case can be passed over; correct them, or set image_root to the folder that "
            f"has them all:\n{listed(merged)}"
        )
    if problems:
        raise UserError(
            f"{plural(len(problems), 'image is', 'images are')} listed twice, and the rows differ:\n{listed(problems)}"
        )
    keep = np.ones(len(table), bool)
    keep[repeated] = False
    return table.filter(pa.array(keep))
