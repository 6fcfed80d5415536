"""Stage 1: fine-tune the teacher."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch import Tensor

from data.config import ViewsConfig
from data.loaders import EpochSampler, FixedItems, ViewDataset, train_loader, whole_image_loader
from data.manifest import Manifest
from data.views import ViewSpec
from models import checkpoint
from models.calibrate import calibrate
from models.classifier import Classifier, build
from models.forward import whole_image_logits
from models.labelled import labelled_rows
from models.publish import publishing
from models.view_cache import head_logits, outputs_over_views
from run.context import RunContext
from run.files import Json, file_digest, write_json
from run.fit import fit, resolve_precision
from run.folder import resumable
from train.config import TeacherConfig
from train.features import FeatureDataset, feature_loader
from train.module import Costs, TeacherModule, class_weights


def train(
    context: RunContext,
    manifest: Manifest,
    config: TeacherConfig,
    views: ViewsConfig,
    costs: Costs | None = None,
) -> Classifier:
    """Fine-tune the teacher, calibrate it, and write ``teacher/model/`` and ``teacher/metrics.json``.

    Args:
        context: the run.
        manifest: its labelled images are learnt from.
        config: the teacher.
        views: what it looks at.
        costs: ``labels.costs``.

    Returns:
        The teacher.

    Raises:
        UserError: the model or its weights cannot be had, or the loss stopped being finite.
    """
    run = context.folder
    inputs = _inputs(context, config, views, costs)
    folder = run.teacher / "model"
    if run.skips("train", inputs):
        return checkpoint.load(folder, manifest.labels)
    work = resumable(run.teacher / "fit", inputs)
    pl.seed_everything(context.seed, verbose=False)
    classifier = _starting_point(manifest, config)
    fitting = _Fitting(context, manifest, config, views, classifier, costs)
    metrics: dict[str, Json] = {}
    if config.mode != "full":
        metrics["head"] = fitting.head(work / "head")
    if config.mode != "head":
        metrics["full"] = fitting.full(work / "full")
    targets = fitting.part("calibration").targets()
    metrics["calibration"] = calibration = calibrate(classifier, fitting.calibration_logits(), targets)
    facts: dict[str, Json] = {
        "base_model": config.model,
        "pretrained": config.pretrained,
        "mode": config.mode,
        "temperature": calibration["temperature"],
    }
    checkpoint.save(classifier, folder, facts)
    write_json(run.teacher / "metrics.json", metrics)
    run.mark_done("train", inputs, [*folder.iterdir(), run.teacher / "metrics.json"])
    for path in work.rglob("*.ckpt"):
        path.unlink()
    return checkpoint.load(folder, manifest.labels)


def _inputs(context: RunContext, config: TeacherConfig, views: ViewsConfig, costs: Costs | None) -> dict[str, Json]:
    """What the teacher depends on; the number of views matters only to a head trained on them."""
    relevant: dict[str, Json] = asdict(views)
    if config.mode == "full":
        del relevant["count"]
    return {
        "manifest": file_digest(context.folder.manifest),
        "teacher": asdict(config),
        "costs": costs,
        "views": relevant,
        "seed": context.seed,
        "precision": context.trainer.precision,
    }


def _starting_point(manifest: Manifest, config: TeacherConfig) -> Classifier:
    classifier = build(
        config.model,
        manifest.labels,
        key="teacher",
        pretrained=config.pretrained,
        image_size=config.image_size,
        drop_path=0.0 if config.mode == "head" else config.drop_path,
    )
    return replace(classifier, spec=classifier.spec.squashed()) if config.resize == "squash" else classifier


@dataclass(frozen=True)
class _Fitting:
    """The fits a teacher may go through; each changes ``classifier`` in place."""

    context: RunContext
    manifest: Manifest
    config: TeacherConfig
    views: ViewsConfig
    classifier: Classifier
    costs: Costs | None

    def part(self, split: str) -> Manifest:
        """The labelled rows of a split."""
        return labelled_rows(self.manifest, split)

    @property
    def precision(self) -> str:
        return resolve_precision(self.context.trainer, convolutional=False)

    @property
    def weights(self) -> Tensor:
        return class_weights(self.part("train").targets(), self.config.class_weighting, self.manifest.labels)

    def head(self, folder: Path) -> dict[str, Json]:
        """Train the last layer on the frozen backbone's cached features of the views."""
        config = self.config.head
        parts = self.part("train"), self.part("val")
        counts = self.views.count, 1
        datasets = [
            FeatureDataset(part, self._features(part, count)) for part, count in zip(parts, counts, strict=True)
        ]
        sampler = EpochSampler(len(parts[0]), self.views.count, self.context.seed)
        loaders = (
            feature_loader(datasets[0], sampler, config.batch_size),
            feature_loader(datasets[1], FixedItems([(row, 0) for row in range(len(parts[1]))]), config.batch_size),
        )
        module = TeacherModule.of_head(self.classifier, config, self.weights, self.costs)
        return dict(
            fit(
                module,
                loaders,
                name="teacher head",
                folder=folder,
                config=config,
                precision="32-true",
                context=self.context,
                callbacks=publishing(self.context, "teacher", self.classifier, folder / "best"),
            )
        )

    def full(self, folder: Path) -> dict[str, Json]:
        """Train every layer on fresh views of the images."""
        config, workers = self.config.full, self.context.trainer.num_workers
        spec = ViewSpec.of(self.views)
        parts = self.part("train"), self.part("val")
        datasets = [ViewDataset(part, self.classifier.spec.render, spec) for part in parts]
        sampler = EpochSampler(len(parts[0]), None, self.context.seed)
        loaders = (
            train_loader(datasets[0], sampler, batch_size=config.batch_size, workers=workers),
            whole_image_loader(datasets[1], len(parts[1]), batch_size=config.batch_size, workers=workers),
        )
        self.classifier.model.requires_grad_(True)
        module = TeacherModule.of_all(self.classifier, config, self.weights, self.config.layer_decay, self.costs)
        return dict(
            fit(
                module,
                loaders,
                name="teacher",
                folder=folder,
                config=config,
                precision=self.precision,
                context=self.context,
                callbacks=publishing(self.context, "teacher", self.classifier, folder / "best"),
            )
        )

    def calibration_logits(self) -> NDArray[np.float32]:
        """Logits [rows, C] of the calibration split's labelled images, whole."""
        part = self.part("calibration")
        if self.config.mode == "head":
            return head_logits(self.classifier, self._features(part, 1)[:, 0])
        spec, trainer = ViewSpec.of(self.views), self.context.trainer
        return whole_image_logits(self.classifier, part, spec, trainer, self.precision, "calibrating the teacher")

    def _features(self, part: Manifest, views: int) -> NDArray[np.float16]:
        return outputs_over_views(
            self.classifier,
            "features",
            part,
            views,
            ViewSpec.of(self.views),
            root=self.context.folder.cache,
            trainer=self.context.trainer,
            precision=self.precision,
        )
