"""Groups of images that belong together: by equal pixels, by the source, and as near-duplicates where that is asked."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.duplicates import chain, components, near_links


@dataclass(frozen=True)
class Groups:
    """Numbers [N] that rows share; a row that does not decode shares none with another."""

    pixels: NDArray[np.int64]
    """Equal where the decoded pixels are."""
    near: NDArray[np.int32]
    """Equal for near-duplicates, and for whatever links them."""
    group: NDArray[np.int32]
    """Equal for rows that have to be in one split."""
    names: pa.Array
    """Name of each group: the least of its source groups, or else of its pixel digests."""


def find_groups(table: pa.Table, *, near_bits: int, join_near: bool) -> Groups:
    """Group the rows of a table with ``pixels``, ``phash`` and ``group``.

    Args:
        near_bits: largest distance of two near-duplicates' perceptual hashes.
        join_near: near-duplicates have to be in one split too.
    """
    pixels = _codes(table.column("pixels"))
    same_pixels = chain(pixels)
    near = components(len(table), np.concatenate([same_pixels, _near_links(table.column("phash"), pixels, near_bits)]))
    # A link through either keeps images together: a patient's photograph may come again under another patient's name.
    source = _codes(table.column("group"))
    group = components(len(table), np.concatenate([chain(near) if join_near else same_pixels, chain(source)]))
    return Groups(pixels=pixels, near=near, group=group, names=_names(table, group))


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """A number per distinct value [N]; -1 where there is none."""
    indices = column.combine_chunks().dictionary_encode().indices
    codes: NDArray[np.int64] = pc.fill_null(indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _near_links(hashes: pa.ChunkedArray, pixels: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Links [L, 2] between rows whose perceptual hashes are close; one row stands for those of equal pixels."""
    rows = np.flatnonzero(hashes.is_valid().to_numpy())
    rows = rows[np.unique(pixels[rows], return_index=True)[1]]
    values = pc.fill_null(hashes, 0).to_numpy()[rows]
    distinct, first, code = np.unique(values, return_index=True, return_inverse=True)
    equal = rows[chain(code)]
    return np.concatenate([equal, rows[first][near_links(distinct, bits)]])


def _names(table: pa.Table, group: NDArray[np.int32]) -> pa.Array:
    """Source groups go before pixels ("0" before "1"): new images then leave a group's name as it is."""
    given = table.column("group").combine_chunks()
    by_source = pc.dictionary_encode(given)
    digests = pa.array(["0" + hashlib.sha256(name.encode()).hexdigest() for name in by_source.dictionary.to_pylist()])
    sources = pc.take(digests.cast(pa.string()), by_source.indices)
    keys = pc.coalesce(sources, pc.binary_join_element_wise("1", table.column("pixels").combine_chunks(), ""))
    ordered = pc.sort_indices(keys).to_numpy()
    _, first = np.unique(group[ordered], return_index=True)
    return pc.utf8_slice_codeunits(keys.take(pa.array(ordered[first])), start=1)
