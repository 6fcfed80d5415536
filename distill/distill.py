"""Stage 2: train students from what the teacher said of each view."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from cache.read import ViewOutputs
from cache.view_cache import Passes
from data.config import ViewsConfig
from data.loaders import EpochSampler, Render, ViewDataset, train_loader, whole_image_loader
from data.manifest import Manifest
from data.views import ViewSpec
from data.working import warn_if_enlarged, with_copies
from distill.config import StudentConfig
from distill.module import StudentModule
from distill.teacher import LiveTeacher, live_logits, teacher_logits
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
from run.errors import UserError
from run.files import Json, write_json
from run.folder import resumable
from run.ranks import once, this_rank
from train.module import Costs


def distill(
    context: RunContext,
    manifest: Manifest,
    config: StudentConfig,
    views: ViewsConfig,
    teacher: Classifier,
    costs: Costs | None = None,
) -> Classifier:
    """Train one student, calibrate it, and write ``students/NAME/model/`` and ``students/NAME/metrics.json``.

    Args:
        context: the run.
        manifest: its images are learned from, labeled or not.
        config: the student.
        views: what it looks at.
        teacher: says what it should say.
        costs: ``labels.costs``.

    Returns:
        The student.

    Raises:
        UserError: the student or its weights cannot be had, it is larger than its teacher, or the loss stopped being
            finite.
    """
    run, name = context.folder, config.name
    taught_by = None if config.loss == "labels" else teacher.weights_digest()
    inputs: dict[str, Json] = {
        "images": manifest.digest("train", "unlabeled", "val", "calibration"),
        "teacher": taught_by,
        "student": asdict(config),
        "costs": costs,
        "views": views.drawing() if config.loss == "labels" else asdict(views),
        "working_size": context.working_size,
        "seed": context.seed,
        "precision": context.trainer.precision,
    }
    folder = run.student(name) / "model"
    if run.skips(f"distill-{name}", inputs):
        return checkpoint.load(folder, manifest.labels)
    pl.seed_everything(context.seed, verbose=False)
    student = build(
        config.model, manifest.labels, key=f"student {name}", pretrained=config.pretrained, image_size=config.image_size
    )
    student = replace(student, spec=student.spec.squashed())
    _require_smaller(student, teacher, name)
    warn_if_enlarged(context.working_size, student.spec.size, f"student {name}")
    if config.loss == "labels":
        config = _for_as_many_steps(config, manifest)
    work = resumable(run.student(name) / "fit", inputs)
    fitting = _Fitting(context, manifest, config, views, teacher, student, costs)
    metrics: dict[str, Json] = {"fit": dict(fitting.fit()), "teacher_passes": fitting.passes.to_json()}
    part, spec = manifest.labeled_rows("calibration"), ViewSpec.of(views)
    logits = whole_image_logits(student, part, spec, context.trainer, "32-true", f"calibrating {name}")
    calibration = calibrate(student, logits, part.targets())
    metrics["calibration"] = calibration.to_json()
    facts = CheckpointFacts(
        labels=manifest.labels,
        base_model=config.model,
        pretrained=config.pretrained,
        teacher=taught_by,
        temperature=calibration.temperature,
    )

    def write() -> None:
        checkpoint.save(student, folder, facts)
        write_json(run.student(name) / "metrics.json", metrics)
        run.mark_done(f"distill-{name}", inputs, [*folder.iterdir(), run.student(name) / "metrics.json"])
        for path in work.rglob("*.ckpt"):
            path.unlink()

    once(write)
    return checkpoint.load(folder, manifest.labels)


def _for_as_many_steps(config: StudentConfig, manifest: Manifest) -> StudentConfig:
    """The baseline with more epochs where a teacher would label more images, so that both take as many steps."""
    learned, labeled = len(manifest.usable("train", "unlabeled")), len(manifest.usable("train"))
    return replace(config, fit=replace(config.fit, epochs=round(config.fit.epochs * learned / labeled)))


def _require_smaller(student: Classifier, teacher: Classifier, name: str) -> None:
    ours, theirs = (sum(weight.numel() for weight in one.model.parameters()) for one in (student, teacher))
    if ours > theirs:
        raise UserError(
            f"student {name} ({student.architecture}) has {ours / 1e6:.1f} M weights, its teacher "
            f"({teacher.architecture}) only {theirs / 1e6:.1f} M: choose a smaller students[].model"
        )


class _Lessons(NamedTuple):
    """What a student is shown in training, and by whom it is taught."""

    learned: ViewDataset
    sampler: EpochSampler
    held_out: ViewDataset
    callbacks: Sequence[Callback]


@dataclass(frozen=True)
class _Fitting:
    """One student's fit, which changes ``student`` in place."""

    context: RunContext
    manifest: Manifest
    config: StudentConfig
    views: ViewsConfig
    teacher: Classifier
    student: Classifier
    costs: Costs | None
    passes: Passes = field(default_factory=Passes)
    """How often the teacher was run."""

    def fit(self) -> dict[str, float]:
        """The metrics of the best epoch."""
        context, name = self.context, self.config.name
        lessons = self._on_labels() if self.config.loss == "labels" else self._by_the_teacher()
        folder, config = context.folder.student(name) / "fit", self.config.fit
        sizes: dict[str, int] = {"batch_size": config.batch_size, "workers": context.trainer.workers}
        learned = train_loader(lessons.learned, lessons.sampler, **sizes)
        held_out = whole_image_loader(lessons.held_out, len(self._part("val")), rank=this_rank(), **sizes)
        # On a CPU, convolutions train faster in this format.
        self.student.model.requires_grad_(True).to(memory_format=torch.channels_last)
        metrics = fit(
            StudentModule(self.student, self.config, self.costs),
            (learned, held_out),
            name=f"student {name}",
            folder=folder,
            config=config,
            precision=resolve_precision(context.trainer, convolutional=True),
            context=context,
            callbacks=[*lessons.callbacks, *publishing(context, name, self.student, folder / "best")],
        )
        images = min(len(lessons.sampler), len(learned) * config.batch_size) * this_rank().world
        live = images * max(0, int(metrics["epochs"]) - self.config.live_from)
        self.passes.add(Passes(images_x_views=live, live=live))
        return metrics

    def _on_labels(self) -> _Lessons:
        """Fresh views of the labeled images; no teacher is asked."""
        images = self._part("train")
        learned, held_out = (ViewDataset(part, self._render, self._spec) for part in (images, self._part("val")))
        sampler = EpochSampler(len(images), None, self.context.seed)
        return _Lessons(learned, sampler, held_out, [])

    def _by_the_teacher(self) -> _Lessons:
        """Views of all images: first cached ones, then fresh ones with a live teacher, as far as the config says."""
        config, views, context = self.config, self.views, self.context
        images, held_out = self._part("train", "unlabeled"), self._part("val")
        known = self._logits(images, views.count) if config.live_from > 0 else None
        callbacks, teacher_render = [], None
        if config.live_from < config.fit.epochs:
            teacher_render = self.teacher.spec.render
            callbacks = [LiveTeacher(live_logits(context, self.teacher), config.mixup, context.seed)]
        return _Lessons(
            ViewDataset(images, self._render, self._spec, known, teacher_render),
            EpochSampler(len(images), views.count, context.seed, fresh_from=config.live_from),
            ViewDataset(held_out, self._render, self._spec, self._logits(held_out, 1)),
            callbacks,
        )

    def _logits(self, part: Manifest, views: int) -> ViewOutputs:
        return teacher_logits(self.context, part, self.views, views, self.teacher, self.passes)

    def _part(self, *splits: str) -> Manifest:
        return self._learnable.usable(*splits)

    @cached_property
    def _learnable(self) -> Manifest:
        """All that is learned and validated on, with working copies of large images."""
        part = self.manifest.usable("train", "unlabeled", "val")
        return with_copies(part, self.context.folder, self.context.working_size)

    @property
    def _render(self) -> Render:
        return self.student.spec.render

    @property
    def _spec(self) -> ViewSpec:
        return ViewSpec.of(self.views, self.context.working_size)
