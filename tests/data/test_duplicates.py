import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from data.duplicates import SMALL, chain, components, near_links


def clustered(seed: int, size: int) -> NDArray[np.uint64]:
    """Distinct hashes of which many are close to another."""
    generator = np.random.default_rng(seed)
    centers = generator.integers(0, 2**64, size, dtype=np.uint64)
    flips = np.uint64(1) << generator.integers(0, 64, (3, size), dtype=np.uint64)
    return np.unique(np.concatenate([centers, centers ^ flips[0], centers ^ flips[0] ^ flips[1], centers ^ flips[2]]))


@pytest.mark.parametrize("small", [3, SMALL])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), size=st.integers(0, 60), bits=st.integers(0, 8))
def test_near_links__join_what_all_pairs_join(small: int, seed: int, size: int, bits: int) -> None:
    hashes = clustered(seed, size)
    pairs = np.argwhere(np.bitwise_count(hashes[:, None] ^ hashes[None]) <= bits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data.duplicates.SMALL", small)
        links = near_links(hashes, bits)
    assert np.array_equal(components(len(hashes), links), components(len(hashes), pairs))


def test_near_links__of_a_fixed_camera_are_few() -> None:
    generator = np.random.default_rng(0)
    flips = np.uint64(1) << generator.integers(0, 64, (4, 12_000), dtype=np.uint64)
    hashes = np.unique(np.bitwise_xor.reduce(flips, axis=0))  # each within 4 bits of one picture
    links = near_links(hashes, 4)
    assert not components(len(hashes), links).any()
    assert len(links) < 5 * len(hashes)  # of 2 million pairs


def test_components__of_links() -> None:
    found = components(6, np.array([[0, 3], [3, 5], [1, 2]]))
    assert [set(np.flatnonzero(found == number).tolist()) for number in dict.fromkeys(found.tolist())] == [
        {0, 3, 5},
        {1, 2},
        {4},
    ]
    assert len(set(components(3, np.empty((0, 2), np.int64)).tolist())) == 3


def test_chain__joins_equal_codes_and_leaves_negative_ones_alone() -> None:
    links = chain(np.array([4, -1, 4, 2, -1, 4]))
    assert links.tolist() == [[0, 2], [2, 5]]
