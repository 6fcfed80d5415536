"""The two fits of a teacher: its head on cached features, and all of it on images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from cache.frozen import FrozenModel
from cache.read import Outputs
from data.examples import Examples
from data.loaders import EpochSampler, FixedItems, Item, ViewDataset, train_loader, whole_image_loader, whole_images
from data.manifest import Manifest
from fitting.callbacks import publishing
from fitting.fit import FitRequest
from fitting.module import Batch
from models.classifier import Classifier
from models.device import precision_for
from run.context import RunContext
from run.ranks import this_rank
from train.config import TeacherConfig
from train.module import Costs, TeacherModule, class_weights


@dataclass(frozen=True, kw_only=True)
class TeacherFits:
    """Requests for the fits of one teacher, which change ``teacher`` in place."""

    context: RunContext
    config: TeacherConfig
    teacher: Classifier
    learned: Examples
    held_out: Examples
    costs: Costs | None

    def of_head(self, backbone: FrozenModel, views: int, folder: Path) -> FitRequest:
        """The last layer, on the backbone's features of the views; those that are not cached are computed here."""
        config = self.config.head
        learned = FeatureDataset(self.learned.rows, backbone.compute_outputs(self.learned, views))
        held_out = FeatureDataset(self.held_out.rows, backbone.compute_outputs(self.held_out, 1))
        sampler = EpochSampler(len(self.learned), views, self.context.seed)
        whole = FixedItems(whole_images(len(self.held_out), this_rank()))
        return FitRequest(
            module=TeacherModule.of_head(self.teacher, config, self._class_weights(), self.costs),
            learned=feature_loader(learned, sampler, config.batch_size),
            held_out=feature_loader(held_out, whole, config.batch_size),
            name="teacher head",
            folder=folder,
            precision="32-true",  # as the cache computes a head's logits
            callbacks=publishing(self.context, "teacher", self.teacher, folder / "best"),
        )

    def of_all(self, folder: Path) -> FitRequest:
        """Every layer, on fresh views of the images."""
        config = self.config.full
        workers = self.context.trainer.workers
        learned = ViewDataset(self.learned, self.teacher.spec.render)
        held_out = ViewDataset(self.held_out, self.teacher.spec.render)
        sampler = EpochSampler(len(self.learned), None, self.context.seed)
        # Before the parameter groups are made: they hold only what is trained.
        self.teacher.model.requires_grad_(True)
        weights = self._class_weights()
        return FitRequest(
            module=TeacherModule.of_all(self.teacher, config, weights, self.config.layer_decay, self.costs),
            learned=train_loader(learned, sampler, batch_size=config.batch_size, workers=workers),
            held_out=whole_image_loader(
                held_out, len(self.held_out), batch_size=config.batch_size, workers=workers, rank=this_rank()
            ),
            name="teacher",
            folder=folder,
            precision=precision_for(self.teacher.model, self.context.trainer),
            callbacks=publishing(self.context, "teacher", self.teacher, folder / "best"),
        )

    def _class_weights(self) -> torch.Tensor:
        return class_weights(self.learned.rows.targets(), self.config.class_weighting, self.teacher.labels)


class FeatureDataset(Dataset[Any]):
    """Whole batches of (row, view) items from cached features [rows, views, D]."""

    def __init__(self, rows: Manifest, features: Outputs) -> None:
        self._features = features
        self._targets = torch.from_numpy(rows.targets())
        self._ids = rows.column("image_id")

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
