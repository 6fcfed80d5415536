"""Links between images that are the same, or nearly: pure functions of digests and perceptual hashes."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

HASH_BITS = 64
SMALL = 1024
"""Hashes of a bucket that are all compared with one another."""
COMPARED = 2**22
"""Pairs of a larger bucket that are compared at a time: bounds the memory."""


def near_links(hashes: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    """Links that join all hashes that differ in at most ``bits`` bits, each with the other or through others.

    Not every pair is a link: pictures of one fixed camera are all alike, and their pairs would fill the memory.
    Two hashes that differ in so few bits are equal in at least one of ``bits + 1`` bands, so only hashes with an equal
    band are compared (multi-index hashing; Norouzi, Punjani and Fleet 2012, arXiv 1307.2982).

    Args:
        hashes: [N], without repeats.

    Returns:
        Indices [links, 2].
    """
    edges = np.linspace(0, HASH_BITS, bits + 2).astype(np.uint64)
    found = [np.empty((0, 2), np.int64)]
    for low, high in pairwise(edges):
        band = (hashes >> low) & np.uint64(2 ** int(high - low) - 1)
        order = np.argsort(band, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            if len(bucket) > SMALL:
                found += _spreading(hashes, bucket, bits)
            elif len(bucket) > 1:
                found.append(_compared(hashes, bucket, bits))
    return np.concatenate(found)


def _compared(hashes: NDArray[np.uint64], bucket: NDArray[np.intp], bits: int) -> NDArray[np.int64]:
    """Links of a small bucket: all pairs, or fewer that join the same."""
    pairs = np.argwhere(np.triu(_near(hashes[bucket], hashes[bucket], bits), 1))
    return bucket[pairs if len(pairs) < len(bucket) else chain(components(len(bucket), pairs))].astype(np.int64)


def _spreading(hashes: NDArray[np.uint64], bucket: NDArray[np.intp], bits: int) -> Iterator[NDArray[np.int64]]:
    """Links of a large bucket: what a hash reaches is never compared again, so that many alike cost little."""
    while len(bucket) > 1:
        front, bucket = bucket[:1], bucket[1:]
        while len(front) and len(bucket):
            part = max(1, COMPARED // len(bucket))
            some, front = front[:part], front[part:]
            near = _near(hashes[some], hashes[bucket], bits)
            reached = near.any(0)
            # One link each will do: what the front holds is joined already.
            yield np.stack([some[near[:, reached].argmax(0)], bucket[reached]], axis=1).astype(np.int64)
            front = np.concatenate([front, bucket[reached]])
            bucket = bucket[~reached]


def _near(rows: NDArray[np.uint64], columns: NDArray[np.uint64], bits: int) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.bitwise_count(rows[:, None] ^ columns[None]) <= bits
    return near


def components(size: int, links: NDArray[np.int64]) -> NDArray[np.int32]:
    """The connected component of each of ``size`` rows, where ``links`` [L, 2] joins rows."""
    from scipy.sparse import coo_array  # a second, which a wrong path in the config need not wait for
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(links), bool), (links[:, 0], links[:, 1])), shape=(size, size))
    labels: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return labels


def chain(codes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Links [L, 2] that join all rows with the same code; negative codes join nothing."""
    rows = np.flatnonzero(codes >= 0)
    order = rows[np.argsort(codes[rows], kind="stable")]
    same = codes[order][1:] == codes[order][:-1]
    return np.stack([order[:-1][same], order[1:][same]], axis=1).astype(np.int64)
