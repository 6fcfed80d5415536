"""Batches of cached features."""

from typing import Any

import numpy as np

from data.manifest import Manifest
from run.folder import RunFolder
from train.fits import FeatureDataset


def test_feature_dataset__every_batch_starts_where_matrix_products_give_the_same_bits(
    elpv_run: tuple[RunFolder, Manifest],
) -> None:
    """From 16 bytes on, as NumPy aligns, the last bits of a product hang on what else the process has allocated."""
    _, rows = elpv_run
    features: Any = np.ones((len(rows), 2, 37), np.float32)
    dataset = FeatureDataset(rows, features)
    batches = [dataset.__getitems__([(row, 0) for row in range(size)])["features"] for size in range(1, 40)]
    assert [batch.data_ptr() % 64 for batch in batches] == [0] * len(batches)
    assert [batch.shape for batch in batches] == [(size, 37) for size in range(1, 40)]
