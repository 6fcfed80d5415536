"""The listing: what a source says of its images, as one table, before any image is read."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.manifest import table_digest
from data.readers.record import Record
from data.storage import fingerprint, is_remote
from run.errors import UserError, listed, plural

SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("fingerprint", pa.string()),
        ("target", pa.list_(pa.float32())),
        ("votes", pa.list_(pa.float32())),
        ("split", pa.string()),
        ("group", pa.string()),
        ("where", pa.string()),
    ]
)

SAID = ("target", "votes", "split", "group")
"""Two rows about one image have to agree on these."""

BATCH = 8192
REQUESTS = 32
"""Remote files that are asked about at once."""


def collect(records: Iterable[Record]) -> pa.Table:
    """All records ordered by URI, one row per URI, with each file's fingerprint.

    Raises:
        UserError: files are not there, or two rows about one image differ; the places in the source are named.
    """
    absent: list[str] = []
    batches = list(_batches(records, absent))
    if absent:
        raise UserError(f"{plural(len(absent), 'image')} not found, or out of reach:\n{listed(absent)}")
    table = pa.Table.from_batches(batches, SCHEMA)
    return _one_row_per_uri(table.take(pc.sort_indices(table.column("uri"))))


def listing_digest(table: pa.Table) -> str:
    """SHA-256 of everything listed but the places in the source: it changes when a file, label or split does."""
    return table_digest(table.drop_columns(["where"]))


def _batches(records: Iterable[Record], absent: list[str]) -> Iterator[pa.RecordBatch]:
    """The table's rows in pieces; once a file is not there, only what else is not there goes to ``absent``."""
    stream = iter(records)
    with ThreadPoolExecutor(REQUESTS) as pool:
        while part := list(islice(stream, BATCH)):
            remote = any(is_remote(record.uri) for record in part)
            found = list((pool.map if remote else map)(_fingerprint, part))
            absent += [problem for _, problem in found if problem]
            if absent:
                continue  # not an end: all that are missing are said at once
            columns: dict[str, list[Any]] = {
                name: [getattr(record, name) for record in part] for name in ("uri", *SAID, "where")
            }
            yield pa.RecordBatch.from_pydict({**columns, "fingerprint": [mark for mark, _ in found]}, SCHEMA)


def _fingerprint(record: Record) -> tuple[str, str]:
    """The file's fingerprint, and what is wrong with it if anything is."""
    try:
        return fingerprint(record.uri), ""
    except FileNotFoundError:
        return "", record.uri if record.where == record.uri else f"{record.where}: {record.uri}"
    except OSError as error:
        return "", f"{record.where}: {error}"


def _one_row_per_uri(table: pa.Table) -> pa.Table:
    if len(table) < 2:
        return table
    # The rows are ordered by URI, so repeats stand beside each other.
    uris = table.column("uri").combine_chunks()
    repeated = np.flatnonzero(pc.equal(uris[1:], uris[:-1]).to_numpy(zero_copy_only=False)) + 1
    problems = []
    for row in repeated.tolist():
        first, second = table.slice(row - 1, 2).to_pylist()
        if any(first[name] != second[name] for name in SAID):
            problems.append(f"{first['where']} and {second['where']}: {first['uri']}")
    if problems:
        raise UserError(
            f"{plural(len(problems), 'image is', 'images are')} listed twice, and the rows differ:\n{listed(problems)}"
        )
    keep = np.ones(len(table), bool)
    keep[repeated] = False
    return table.filter(pa.array(keep))
