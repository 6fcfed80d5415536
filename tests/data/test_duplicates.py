import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from data.duplicates import chain, components, near_pairs


def clustered(seed: int, size: int) -> NDArray[np.uint64]:
    """Distinct hashes of which many are close to another."""
    generator = np.random.default_rng(seed)
    centers = generator.integers(0, 2**64, size, dtype=np.uint64)
    flips = np.uint64(1) << generator.integers(0, 64, (3, size), dtype=np.uint64)
    return np.unique(np.concatenate([centers, centers ^ flips[0], centers ^ flips[0] ^ flips[1], centers ^ flips[2]]))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), size=st.integers(0, 60), bits=st.integers(0, 8))
def test_near_pairs__are_those_of_comparing_all(seed: int, size: int, bits: int) -> None:
    hashes = clustered(seed, size)
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = np.argwhere(np.triu(distance <= bits, 1))
    assert np.array_equal(near_pairs(hashes, bits), expected.reshape(-1, 2))


def test_near_pairs__a_bucket_larger_than_a_block() -> None:
    hashes = np.arange(9000, dtype=np.uint64) << np.uint64(50)  # equal in every band but the highest
    hashes = np.unique(hashes)
    pairs = near_pairs(hashes, 1)
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    assert len(pairs) == np.count_nonzero(np.triu(distance == 1, 1))


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
