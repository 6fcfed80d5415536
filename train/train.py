"""Stage 1: fine-tune the teacher."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch import Tensor

from cache.read import Outputs, head_logits
from cache.view_cache import Passes, outputs_over_views
from data.config import ViewsConfig
from data.loaders import EpochSampler, FixedItems, ViewDataset, train_loader, whole_image_loader, whole_images
from data.manifest import Manifest
from data.views import ViewSpec
from data.working import warn_if_enlarged, with_copies
from fitting.fit import fit
from fitting.publish import publishing
from models import checkpoint
from models.building import build
from models.calibration import calibrate
from models.classifier import Classifier
from models.device import resolve_precision
from models.facts import CheckpointFacts
from models.forward import whole_image_logits
from run.context import RunContext
from run.files import Json, write_json
from run.folder import resumable
from run.ranks import once, this_rank
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
        manifest: its labeled images are learned from.
        config: the teacher.
        views: what it looks at.
        costs: ``labels.costs``.

    Returns:
        The teacher.

    Raises:
        UserError: the model or its weights cannot be had, or the loss stopped being finite.
    """
    run = context.folder
    inputs = _inputs(context, manifest, config, views, costs)
    folder = run.teacher / "model"
    if run.skips("train", inputs):
        return checkpoint.load(folder, manifest.labels)
    work = resumable(run.teacher / "fit", inputs)
    pl.seed_everything(context.seed, verbose=False)
    classifier = starting_point(manifest, config)
    warn_if_enlarged(context.working_size, classifier.spec.size, "teacher")
    fitting = _Fitting(context, manifest, config, views, classifier, costs)
    metrics: dict[str, Json] = {}
    if config.mode != "full":
        metrics["head"] = fitting.head(work / "head")
    if config.mode != "head":
        metrics["full"] = fitting.full(work / "full")
    targets = fitting.part("calibration").targets()
    calibration = calibrate(classifier, fitting.calibration_logits(), targets)
    metrics["calibration"] = calibration.to_json()
    metrics["teacher_passes"] = fitting.passes.to_json()
    facts = CheckpointFacts(
        labels=manifest.labels,
        base_model=config.model,
        pretrained=config.pretrained,
        mode=config.mode,
        temperature=calibration.temperature,
    )

    def write() -> None:
        checkpoint.save(classifier, folder, facts)
        write_json(run.teacher / "metrics.json", metrics)
        run.mark_done("train", inputs, [*folder.iterdir(), run.teacher / "metrics.json"])
        for path in work.rglob("*.ckpt"):
            path.unlink()

    once(write)
    return checkpoint.load(folder, manifest.labels)


def _inputs(
    context: RunContext, manifest: Manifest, config: TeacherConfig, views: ViewsConfig, costs: Costs | None
) -> dict[str, Json]:
    """What the teacher depends on; the number of views matters only to a head trained on them."""
    relevant = views.drawing() if config.mode == "full" else {**views.drawing(), "count": views.count}
    return {
        "images": manifest.digest("train", "val", "calibration"),
        "teacher": asdict(config),
        "costs": costs,
        "views": relevant,
        "working_size": context.working_size,
        "seed": context.seed,
        "precision": context.trainer.precision,
    }


def starting_point(manifest: Manifest, config: TeacherConfig) -> Classifier:
    """The model before any training; where its weights are random, the seed has to be set before."""
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
    passes: Passes = field(default_factory=Passes)
    """How often the backbone was run besides training it."""

    def part(self, split: str) -> Manifest:
        """The labeled rows of a split."""
        return self.manifest.labeled_rows(split)

    def learned(self, split: str) -> Manifest:
        """The same rows, with working copies of large images."""
        return with_copies(self.part(split), self.context.folder, self.context.working_size)

    @property
    def working_views(self) -> ViewSpec:
        """Views of working copies."""
        return ViewSpec.of(self.views, self.context.working_size)

    @property
    def precision(self) -> str:
        return resolve_precision(self.context.trainer, convolutional=False)

    @property
    def weights(self) -> Tensor:
        return class_weights(self.part("train").targets(), self.config.class_weighting, self.manifest.labels)

    def head(self, folder: Path) -> dict[str, Json]:
        """Train the last layer on the frozen backbone's cached features of the views."""
        config = self.config.head
        parts = self.learned("train"), self.learned("val")
        counts, spec = (self.views.count, 1), self.working_views
        datasets = [
            FeatureDataset(part, self._features(part, count, spec)) for part, count in zip(parts, counts, strict=True)
        ]
        sampler = EpochSampler(len(parts[0]), self.views.count, self.context.seed)
        loaders = (
            feature_loader(datasets[0], sampler, config.batch_size),
            feature_loader(datasets[1], FixedItems(whole_images(len(parts[1]), this_rank())), config.batch_size),
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
        config, workers = self.config.full, self.context.trainer.workers
        spec = self.working_views
        parts = self.learned("train"), self.learned("val")
        datasets = [ViewDataset(part, self.classifier.spec.render, spec) for part in parts]
        sampler = EpochSampler(len(parts[0]), None, self.context.seed)
        sizes: dict[str, int] = {"batch_size": config.batch_size, "workers": workers}
        loaders = (
            train_loader(datasets[0], sampler, **sizes),
            whole_image_loader(datasets[1], len(parts[1]), rank=this_rank(), **sizes),
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
        """Logits [rows, C] of the calibration split's labeled images, whole and as they are on disk."""
        part, spec, trainer = self.part("calibration"), ViewSpec.of(self.views), self.context.trainer
        if self.config.mode == "head":
            return head_logits(self.classifier, self._features(part, 1, spec))[:, 0]
        self.passes.add(Passes(images_x_views=len(part)))
        return whole_image_logits(self.classifier, part, spec, trainer, self.precision, "calibrating the teacher")

    def _features(self, part: Manifest, views: int, spec: ViewSpec) -> Outputs:
        return outputs_over_views(
            self.classifier,
            "features",
            part,
            views,
            spec,
            root=self.context.folder.cache,
            trainer=self.context.trainer,
            precision=self.precision,
            passes=self.passes,
        )
