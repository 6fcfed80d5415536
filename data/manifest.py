"""The manifest: one Parquet row per image that was read, with its target, split and group."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.config import how_to_enlarge
from data.labels import LabelSet
from run.errors import UserError, quoted
from run.files import Json, atomic_path, make_private
from run.text import redacted

SPLITS = ("train", "val", "calibration", "test", "unlabeled")

OK = "ok"
DUPLICATE = "duplicate of "
NEAR_DUPLICATE = "near-duplicate of "
CONFLICT = "the same picture has different labels"
TORN = "its duplicates are recorded in different splits"

LEFT_OUT = {"duplicates": DUPLICATE, "near_duplicates_of_held_out": NEAR_DUPLICATE, "conflicts": CONFLICT, "torn": TORN}
"""By kind, the beginning of the status of readable images that take no part."""

DIGESTED = 8192
"""Rows that are held as Python values at a time."""

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("uri", pa.string()),
        ("target", pa.list_(pa.float32())),
        ("votes", pa.list_(pa.float32())),
        ("split", pa.string()),
        ("group", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("status", pa.string()),
        ("near", pa.int32()),
        ("metadata", pa.map_(pa.string(), pa.string())),
    ]
)


@dataclass(frozen=True)
class Manifest:
    """Rows of a manifest, all of them or those of some splits.

    ``image_id`` is the SHA-256 of the file's bytes, ``uri`` where they lie, ``target`` a distribution over the labels
    (null when unlabeled), ``group`` is shared by images that have to be in one split, ``status`` is ``ok`` or why
    the row takes no part, ``near`` is shared by near-duplicates, and ``metadata`` has the source's columns that
    verification slices by.
    """

    labels: LabelSet
    table: pa.Table

    @classmethod
    def of(cls, labels: LabelSet, rows: Sequence[Mapping[str, Any]]) -> "Manifest":
        """A manifest of these rows, ordered by uri so that the order of reading does not matter."""
        ordered = sorted(rows, key=lambda row: str(row["uri"]))
        return cls(labels, pa.Table.from_pylist([dict(row) for row in ordered], schema=SCHEMA))

    @classmethod
    def read(cls, path: Path, labels: LabelSet) -> "Manifest":
        """Read a manifest written for the same label set.

        Raises:
            UserError: there is none, or it was made for other labels.
        """
        if not path.is_file():
            raise UserError(f"{quoted(path)} does not exist: run `pocketeva prepare` first")
        table = read_table(path)
        stored = json.loads(table.schema.metadata[b"labels"])
        labels.require_equal(LabelSet.of_json(stored), str(path))
        if table.column_names != SCHEMA.names:
            raise UserError(
                f"{quoted(path)} was written by another version of PocketEVA: run `pocketeva prepare` again"
            )
        return cls(labels, table)

    def write(self, path: Path, **notes: Json) -> None:
        """Write atomically, with notes in the file's metadata; equal manifests give equal bytes."""
        facts = {"labels": self.labels.to_json(), **notes}
        metadata = {key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()}
        write_table(self.table.replace_schema_metadata(metadata), path)

    def usable(self, *splits: str) -> "Manifest":
        """The rows with status ``ok`` in these splits."""
        usable = pc.equal(self.table.column("status"), OK)
        inside = pc.is_in(self.table.column("split"), pa.array(splits, pa.string()))
        return Manifest(self.labels, self.table.filter(pc.and_(usable, inside)))

    def labeled_rows(self, *splits: str) -> "Manifest":
        """The usable rows of these splits that have a label; in a multilabel set it may be that no label applies.

        Raises:
            UserError: one of the splits has none.
        """
        part = self.usable(*splits)
        found = Manifest(part.labels, part.table.filter(pa.array(part.labeled())))
        there = pc.unique(found.table.column("split")).to_pylist()
        for split in splits:
            if split not in there:
                raise UserError(f"the {split} split has no images with labels: add some, or {how_to_enlarge(split)}")
        return found

    def with_truth(self) -> "Manifest":
        """The rows with one true label, or one true set of labels: without those whose votes tie."""
        return Manifest(self.labels, self.table.filter(pa.array(self.labels.has_truth(self.targets()))))

    def one_per_group(self) -> "Manifest":
        """One image of every group, drawn by hash, in an order by hash: the first so many are a draw as well."""
        ids = self.column("image_id")
        groups = self.column("group")
        # Backwards, because of equal keys the last one stays: the least id, which is a digest of the image.
        least = {groups[row]: row for row in sorted(range(len(self)), key=ids.__getitem__, reverse=True)}
        return Manifest(self.labels, self.table.take(sorted(least.values(), key=ids.__getitem__)))

    def digest(self, *splits: str) -> str:
        """Names what these splits teach: the label set, images, targets, splits and groups, wherever the files lie."""
        table = self.usable(*splits).table.select(["image_id", "target", "split", "group"])
        return table_digest(table, self.labels.digest)

    def column(self, name: str) -> list[Any]:
        """One column as Python values."""
        return list(self.table.column(name).to_pylist())

    def targets(self) -> NDArray[np.float32]:
        """Targets [rows, labels]; rows without a label are all zero."""
        targets = np.zeros((len(self), len(self.labels)), np.float32)
        targets[self.labeled()] = pc.list_flatten(self.table.column("target")).to_numpy().reshape(-1, len(self.labels))
        return targets

    def labeled(self) -> NDArray[np.bool_]:
        """True for rows [rows] with a label; in a multilabel set a labeled row may still be all zero."""
        return np.asarray(self.table.column("target").is_valid(), np.bool_)

    def __getitem__(self, rows: slice) -> "Manifest":
        """Some of the rows."""
        return Manifest(self.labels, self.table[rows])

    def __len__(self) -> int:
        return int(self.table.num_rows)


def read_table(path: Path) -> pa.Table:
    """Read Parquet; not by pyarrow's own ``read_table``, which imports pandas: half a second for each verb."""
    with pq.ParquetFile(path) as file:
        return file.read()


def write_table(table: pa.Table, path: Path) -> None:
    """Write Parquet atomically; for this user alone where an address in ``uri`` holds what lets people in."""
    uris = table.column("uri")
    remote = uris.filter(pc.match_substring(uris, "://")).to_pylist()
    with atomic_path(path) as partial:
        if any(redacted(uri) != uri for uri in remote):
            make_private(partial)
        pq.write_table(table, partial)


def table_digest(table: pa.Table, prefix: str = "") -> str:
    """SHA-256 of a prefix and a table's values, however they are stored."""
    sha = hashlib.sha256(prefix.encode())
    for batch in table.combine_chunks().to_batches(DIGESTED):
        sha.update(repr(batch.to_pydict()).encode())
    return sha.hexdigest()
