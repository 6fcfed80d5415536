"""Audits of small manifests."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data.audit import Audit, Promise
from data.examine import examine
from data.groups import Groups, find_groups
from data.labels import LabelSet
from data.manifest import Manifest
from tests.support import rows_of


def built(labels: LabelSet, changes: dict[int, dict[str, Any]], count: int = 12) -> tuple[Manifest, Groups]:
    """Rows 00 to ``count``, labeled in turn, with some of their cells changed."""
    rows = rows_of([Path(f"/images/{number:04}.png") for number in range(count)], labels)
    for number, cells in changes.items():
        rows[number].update(cells)
    manifest = Manifest.of(labels, rows)
    table = manifest.table.append_column("pixels", manifest.table.column("image_id"))
    table = table.append_column("phash", pa.array(np.arange(count, dtype=np.uint64) * np.uint64(0x0F0F0F0F0F0F0F0F)))
    return manifest, find_groups(table, near_bits=0, join_near=False)


def audited(labels: LabelSet, changes: dict[int, dict[str, Any]], count: int = 12) -> Audit:
    manifest, groups = built(labels, changes, count)
    return examine(manifest, groups, np.zeros(count, bool), Promise(0.99, 0.95))
