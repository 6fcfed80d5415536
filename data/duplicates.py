"""Links between images that are the same, or nearly: pure functions of digests and perceptual hashes."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

HASH_BITS = 64
BLOCK = 4096
"""Hashes compared with one another at a time: bounds the memory of a large bucket."""


def near_pairs(hashes: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    """All pairs of hashes that differ in at most ``bits`` bits.

    Two hashes that differ in so few bits are equal in at least one of ``bits + 1`` bands, so only hashes with an equal
    band are compared (multi-index hashing; Norouzi, Punjani and Fleet 2012, arXiv 1307.2982).

    Args:
        hashes: [N], without repeats.
        bits: the largest Hamming distance.

    Returns:
        Indices [pairs, 2], the smaller first, in ascending order.
    """
    edges = np.linspace(0, HASH_BITS, bits + 2).astype(np.uint64)
    found = [np.empty((0, 2), np.int64)]
    for low, high in pairwise(edges):
        band = (hashes >> low) & np.uint64(2 ** int(high - low) - 1)
        order = np.argsort(band, kind="stable")  # stable: indices ascend within a bucket, as _close needs
        for bucket in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            found += [pairs for pairs in _close(hashes, bucket, bits) if len(pairs)]
    return np.unique(np.concatenate(found), axis=0)


def _close(hashes: NDArray[np.uint64], bucket: NDArray[np.intp], bits: int) -> Iterator[NDArray[np.int64]]:
    """Pairs within one bucket of ascending indices."""
    for start in range(0, len(bucket) - 1, BLOCK):
        rows = bucket[start : start + BLOCK]
        for other in range(start, len(bucket), BLOCK):
            columns = bucket[other : other + BLOCK]
            near = np.bitwise_count(hashes[rows, None] ^ hashes[None, columns]) <= bits
            left, right = np.nonzero(near & (rows[:, None] < columns[None]))
            yield np.stack([rows[left], columns[right]], axis=1).astype(np.int64)


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
