"""Rows that a stage depends on: their digest, and in words what changed among them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.manifest import Manifest, read_table, table_digest
from run.errors import plural
from run.files import atomic_path
from run.text import redacted

_CHANGED: Mapping[str, tuple[str, str]] = {
    "target": ("label changed", "labels changed"),
    "split": ("image moved to another split", "images moved to another split"),
    "group": ("image joined another group", "images joined another group"),
    "metadata": ("image has other values to slice by", "images have other values to slice by"),
    "fingerprint": ("file changed", "files changed"),
}
"""What to say where a column differs."""


@dataclass(frozen=True)
class Rows:
    """A table whose first column names its rows; kept beside the stamp of a stage (``run.stage.Described``)."""

    table: pa.Table
    digest: str

    @classmethod
    def of_images(cls, manifest: Manifest, *splits: str) -> "Rows":
        """Rows of these splits of a manifest, as far as they teach anything."""
        part = manifest.usable(*splits).table.select(["image_id", "target", "split", "group"])
        return cls(part, manifest.digest(*splits))

    @classmethod
    def of_listing(cls, listing: pa.Table) -> "Rows":
        """Rows that a source lists; their places in the source do not count."""
        counted = listing.drop_columns(["where"])
        # Without what lets people in: these rows are kept in a file.
        uris = pa.array([redacted(uri) for uri in counted.column("uri").to_pylist()], pa.string())
        rows = counted.select(["uri", *_CHANGED]).set_column(0, "uri", uris)
        return cls(rows, table_digest(counted))

    def save(self, path: Path) -> None:
        """Keep the rows."""
        with atomic_path(path) as partial:
            pq.write_table(self.table, partial, compression="zstd")

    def difference(self, path: Path) -> str:
        """Changes since rows were saved, in words; empty where they cannot be told."""
        try:
            old = read_table(path)
        except (OSError, pa.ArrowException):
            return ""
        key = self.table.column_names[0]
        if not set(self.table.column_names) <= set(old.column_names):
            return ""
        at = pc.index_in(self.table.column(key), value_set=old.column(key))
        here = self.table.filter(pc.is_valid(at))
        there = old.take(pc.drop_null(at))
        found = []
        for name, words in _CHANGED.items():
            if name in here.column_names:
                pairs = zip(here.column(name).to_pylist(), there.column(name).to_pylist(), strict=True)
                found.append((sum(now != before for now, before in pairs), *words))
        gone = len(old) - len(pc.unique(pc.drop_null(at)))
        found += [
            (len(self.table) - len(here), "image is new", "images are new"),
            (gone, "image is gone", "images are gone"),
        ]
        return ", ".join(plural(count, *words) for count, *words in found if count)
