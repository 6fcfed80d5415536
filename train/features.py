"""Cached features as training data for the head."""

from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from cache.read import Outputs
from data.loaders import EpochSampler, FixedItems, Item
from data.manifest import Manifest
from fitting.fit import Batch


class FeatureDataset(Dataset[Any]):
    """Whole batches of (row, view) items from features [rows, views, D]."""

    def __init__(self, manifest: Manifest, features: Outputs) -> None:
        self._features = features
        self._targets = torch.from_numpy(manifest.targets())
        self._ids = manifest.column("image_id")

    def __getitems__(self, items: list[Item]) -> Batch:
        """A batch: ``features`` [B, D], ``target`` [B, C], ``image_id``."""
        rows, views = (list(column) for column in zip(*items, strict=True))
        return {
            "features": torch.from_numpy(self._features[rows, views].astype(np.float32)),
            "target": self._targets[rows],
            "image_id": [self._ids[row] for row in rows],
        }


def feature_loader(dataset: FeatureDataset, sampler: EpochSampler | FixedItems, batch_size: int) -> DataLoader[Any]:
    """Batches in the sampler's order."""
    return DataLoader(dataset, batch_size=batch_size, sampler=sampler, collate_fn=lambda batch: batch)
