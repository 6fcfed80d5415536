"""The two fits of a teacher: its head on cached features, and what its mode trains on images."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from cache.frozen import FrozenModel
from cache.read import Outputs
from data.examples import Examples
from data.loaders import EpochSampler, Item, ViewDataset, train_loader, whole_image_loader, whole_images
from data.manifest import Manifest
from fitting.callbacks import publishing
from fitting.fit import FitRequest
from fitting.module import Batch
from models.adapting import Adapted, merged_copy
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
    adapted: Adapted | None = None
    """The teacher's model with its adapters, where its mode adds some."""

    def of_head(self, backbone: FrozenModel, views: int, folder: Path) -> FitRequest:
        """The last layer, on the backbone's features of the views; those that are not cached are computed here."""
        config = self.config.head.sized_for(len(self.learned) // this_rank().world)
        learned = FeatureDataset(self.learned.rows, backbone.compute_outputs(self.learned, views))
        held_out = FeatureDataset(self.held_out.rows, backbone.compute_outputs(self.held_out, 1))
        sampler = EpochSampler(len(self.learned), views, self.context.seed)
        whole = whole_images(len(self.held_out), this_rank())
        return FitRequest(
            module=TeacherModule.of_head(self.teacher, config, self._class_weights(), self.costs),
            learned=feature_loader(learned, sampler, config.batch_size),
            held_out=feature_loader(held_out, whole, config.batch_size),
            name="teacher head",
            folder=folder,
            precision="32-true",  # as the cache computes a head's logits
            callbacks=publishing(self.context, "teacher", self._plain, folder / "best"),
        )

    def of_images(self, folder: Path) -> FitRequest:
        """The weights that require gradients, on fresh views of the images."""
        config = self.config.on_images
        workers = self.context.trainer.workers
        learned = ViewDataset(self.learned, self.teacher.spec.render)
        held_out = ViewDataset(self.held_out, self.teacher.spec.render)
        sampler = EpochSampler(len(self.learned), None, self.context.seed)
        layer_decay = 1.0 if self.config.mode == "lora" else self.config.layer_decay
        return FitRequest(
            module=TeacherModule.of_images(
                self.teacher, config, self._class_weights(), layer_decay, self.costs, config.grad_checkpointing
            ),
            learned=train_loader(learned, sampler, batch_size=config.batch_size, workers=workers),
            held_out=whole_image_loader(
                held_out, len(self.held_out), batch_size=config.batch_size, workers=workers, rank=this_rank()
            ),
            name="teacher",
            folder=folder,
            precision=precision_for(self.teacher.model, self.context.trainer),
            micro_batch=self.context.trainer.micro_batch,
            callbacks=publishing(self.context, "teacher", self._plain, folder / "best"),
        )

    def _plain(self) -> Classifier:
        """The teacher as anybody can load it."""
        return self.teacher if self.adapted is None else replace(self.teacher, model=merged_copy(self.adapted))

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
            # A copy in PyTorch's memory: NumPy's starts at any 16 bytes, and matrix products of other alignments differ
            # in their last bits, so that a head would not be the same bit for bit from one process to the next.
            "features": torch.tensor(self._features[rows, views], dtype=torch.float32),
            "target": self._targets[rows],
            "image_id": [self._ids[row] for row in rows],
        }


def feature_loader(dataset: FeatureDataset, sampler: EpochSampler | list[Item], batch_size: int) -> DataLoader[Any]:
    """Batches in the sampler's order."""
    return DataLoader(dataset, batch_size=batch_size, sampler=sampler, collate_fn=lambda batch: batch)
