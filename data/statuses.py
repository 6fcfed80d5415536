"""The status of each image: it takes part, or why not."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.groups import Groups
from data.labels import LabelSet
from data.manifest import CONFLICT, DUPLICATE, NEAR_DUPLICATE, OK, SPLITS, TORN
from data.splits import HELD_OUT, NONE, Splits

UNLABELED = SPLITS.index("unlabeled")
LIKELY = 0.5


def statuses(table: pa.Table, groups: Groups, split: Splits, labels: LabelSet) -> list[str]:
    """``ok``, or why a row takes no part.

    One picture with different labels is out; of files with equal bytes in one split the first stays; an unlabeled
    image is out if it is also a labeled one, or nearly a held-out one.

    Args:
        table: ``uri``, ``image_id``, ``target``, and the scan's ``status``.
        split: of its rows; the pool's are unlabeled, ``NONE`` is a row that has no right split.
    """
    status: list[str] = table.column("status").to_pylist()
    uris = table.column("uri")
    decoded = np.array(pc.equal(table.column("status"), OK))
    pool = decoded & (split == UNLABELED)
    labeled = decoded & ~pool

    def mark(rows: Iterable[tuple[int, int]], reason: str) -> None:
        for row, like in rows:
            if status[row] == OK:
                status[row] = f"{reason}{uris[like].as_py()}"

    # The order matters: `mark` leaves a row that already has a reason, and a conflict says more than a duplicate.
    for row, other in _conflicting(table, groups, labeled, len(labels)):
        here, there = (_named(table.column("target")[one].as_py(), labels) for one in (row, other))
        status[row] = f"{CONFLICT}: {here} here, {there} in {uris[other].as_py()}"
    for row in np.flatnonzero(labeled & (split == NONE)).tolist():
        status[row] = TORN
    image = table.column("image_id").combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    alike = _first_like(image * len(SPLITS) + split, decoded, decoded)
    mark(((row, first) for row, first in alike if row != first), DUPLICATE)
    mark(_first_like(groups.pixels, pool, labeled), DUPLICATE)
    held_out = labeled & np.isin(split, [SPLITS.index(name) for name in HELD_OUT])
    mark(_first_like(groups.near, pool, held_out), NEAR_DUPLICATE)
    return status


def _conflicting(table: pa.Table, groups: Groups, labeled: NDArray[np.bool_], labels: int) -> Iterator[tuple[int, int]]:
    """Pairs of a labeled row and one with the same picture and another label."""
    rows = np.flatnonzero(labeled)
    targets = pc.list_flatten(table.column("target").take(rows)).to_numpy().reshape(len(rows), labels)
    _, first, code = np.unique(groups.pixels[rows], return_index=True, return_inverse=True)
    differs = (targets != targets[first][code]).any(1)
    other = np.full(len(first), NONE)  # by picture, a row that differs from the first one
    other[code[differs]] = np.flatnonzero(differs)
    for place in np.flatnonzero(other[code] != NONE).tolist():
        yield int(rows[place]), int(rows[first[code[place]] if differs[place] else other[code[place]]])


def _named(target: Sequence[float], labels: LabelSet) -> str:
    """Labels with a share of half or more, or else all shares."""
    likely = [name for name, share in zip(labels.names, target, strict=True) if share >= LIKELY]
    return " and ".join(likely) or ("no label" if not any(target) else "votes " + "/".join(f"{p:.2g}" for p in target))


def _first_like(
    codes: NDArray[np.integer], rows: NDArray[np.bool_], others: NDArray[np.bool_]
) -> Iterable[tuple[int, int]]:
    """Pairs of one of ``rows`` and the first of ``others`` with the same number, where there is one."""
    places = np.flatnonzero(others)
    known, first = np.unique(codes[places], return_index=True)
    wanted = np.flatnonzero(rows)
    wanted = wanted[np.isin(codes[wanted], known)]
    like = places[first[np.searchsorted(known, codes[wanted])]]
    return zip(wanted.tolist(), like.tolist(), strict=True)
