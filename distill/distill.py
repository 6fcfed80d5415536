"""Stage 2: train students from the teacher's logits for each view."""

from dataclasses import asdict, replace

import pytorch_lightning as pl
import torch

from cache.fill import PassCount
from cache.frozen import FrozenModel
from data.changes import Rows
from data.config import ViewsConfig
from data.examples import Examples
from data.loaders import train_loader, whole_image_loader
from data.manifest import Manifest
from data.working import warn_if_enlarged
from distill.config import StudentConfig
from distill.erasing import Erasing
from distill.lessons import Lessons, compute_lessons_from_teacher, lessons_from_labels
from distill.module import StudentModule
from distill.require import larger
from fitting.callbacks import publishing
from fitting.diagnosis import diagnose, diagnose_fit, say, to_json
from fitting.fit import FitRequest, fit, remove_checkpoints
from models import checkpoint
from models.building import build, count_weights
from models.calibration import Calibration, calibrate
from models.classifier import Classifier
from models.decision import DecisionRule
from models.device import device_of, precision_for
from models.facts import CheckpointFacts, public_name
from models.forward import whole_image_logits
from models.room import require_room
from run.context import RunContext
from run.errors import UserError
from run.files import Json, write_json
from run.ranks import once, this_rank
from run.stage import Inputs, stage
from train.losses import Costs


def distill(
    context: RunContext,
    manifest: Manifest,
    config: StudentConfig,
    views: ViewsConfig,
    teacher: FrozenModel,
    costs: Costs | None = None,
) -> None:
    """Train one student, calibrate it, and write ``students/NAME/model/`` and ``students/NAME/metrics.json``.

    Args:
        manifest: its images are learned from, labeled or not.
        costs: ``labels.costs``.

    Raises:
        UserError: the student or its weights cannot be had, it is larger than its teacher, or the loss stopped being
            finite.
    """
    folder = context.folder.student(config.name)
    taught_by = None if config.loss == "labels" else teacher.classifier.weights_digest()
    inputs = _inputs(context, manifest, config, views, taught_by, costs)
    with stage(context.folder, f"distill-{config.name}", inputs) as current:
        if current.done:
            return
        # Before the model is built: random weights are drawn from the seed, and so is what the fit draws after them.
        pl.seed_everything(context.seed, verbose=False)
        student = _build(config, manifest)
        # Before the work folder is made: a student that is refused leaves nothing behind.
        _require_smaller(student, teacher.classifier, config.name)
        warn_if_enlarged(context.working_size, student.spec.size, f"student {config.name}")
        work = current.work_folder(folder / "fit")
        precision = precision_for(student.model, context.trainer)
        # Before the teacher's pass, which may take hours.
        require_room(student, device_of(context.trainer), f"student {config.name}", precision=precision)
        render = student.spec.render
        teacher.passes = PassCount()  # each student counts its own
        if config.loss == "labels":
            config = _for_as_many_steps(config, manifest)
            lessons = lessons_from_labels(context, manifest, views, render)
        else:
            lessons = compute_lessons_from_teacher(context, manifest, config, views, teacher, render)
        fitted = fit(_request(context, config, student, lessons, costs), context)
        teacher.passes.add(_live_passes(config, lessons, fitted))
        unseen = Examples.of_originals(manifest.labeled_rows("val"), views)
        targets = unseen.rows.targets()
        # In float32, as the exported files will be run.
        logits = whole_image_logits(student, unseen, context.trainer, "32-true", f"calibrating {config.name}")
        calibration = calibrate(student, logits, targets)
        notes = diagnose(logits, targets, DecisionRule.of(manifest.labels), calibration.uncalibrated)
        notes += diagnose_fit(fitted, config.fit)
        say(f"student {config.name}", notes)
        metrics: dict[str, Json] = {
            "fit": dict(fitted),
            "teacher_passes": asdict(teacher.passes),
            "calibration": asdict(calibration),
            "diagnosis": to_json(notes),
        }
        facts = _facts(config, student, calibration, taught_by)
        once(lambda: checkpoint.save(student, folder / "model", facts))
        once(lambda: write_json(folder / "metrics.json", metrics))
        current.wrote([*(folder / "model").iterdir(), folder / "metrics.json"])
    # After the stamp: a stage that is killed before it still has its finished fit.
    once(lambda: remove_checkpoints(work))


def _inputs(
    context: RunContext,
    manifest: Manifest,
    config: StudentConfig,
    views: ViewsConfig,
    taught_by: str | None,
    costs: Costs | None,
) -> Inputs:
    """Everything the student depends on."""
    return {
        "images": Rows.of_images(manifest, "train", "unlabeled", "val"),
        "teacher": taught_by,
        # Without it: whether a baseline is trained beside it is nothing to the student.
        "student": {key: value for key, value in asdict(config).items() if key != "baseline"},
        "costs": costs,
        "views": views.drawing() if config.loss == "labels" else asdict(views),
        "working_size": context.working_size,
        "seed": context.seed,
        "precision": context.trainer.precision,
    }


def _facts(
    config: StudentConfig, student: Classifier, calibration: Calibration, taught_by: str | None
) -> CheckpointFacts:
    return CheckpointFacts(
        labels=student.labels,
        base_model=public_name(config.model, student.revision),
        pretrained=config.pretrained,
        teacher=taught_by,
        temperature=calibration.temperature,
        uncalibrated=calibration.uncalibrated,
    )


def _build(config: StudentConfig, manifest: Manifest) -> Classifier:
    student = build(
        config.model,
        manifest.labels,
        key=f"student {config.name}",
        pretrained=config.pretrained,
        image_size=config.image_size,
    )
    return replace(student, spec=student.spec.squashed())


def _require_smaller(student: Classifier, teacher: Classifier, name: str) -> None:
    if count_weights(student.model) > count_weights(teacher.model):
        raise UserError(larger(name, student.architecture, student.model, teacher.architecture, teacher.model))


def _for_as_many_steps(config: StudentConfig, manifest: Manifest) -> StudentConfig:
    """The baseline with more epochs where a teacher would label more images, so that both take as many steps."""
    learned = len(manifest.usable("train", "unlabeled"))
    labeled = len(manifest.usable("train"))
    return replace(config, fit=replace(config.fit, epochs=round(config.fit.epochs * learned / labeled)))


def _request(
    context: RunContext, config: StudentConfig, student: Classifier, lessons: Lessons, costs: Costs | None
) -> FitRequest:
    folder = context.folder.student(config.name) / "fit"
    loading = {"batch_size": config.fit.batch_size, "workers": context.trainer.workers}
    erasing = [Erasing(config.erasing, context.seed)] if config.erasing else []
    # On a CPU, convolutions train faster in this format.
    student.model.requires_grad_(True).to(memory_format=torch.channels_last)
    return FitRequest(
        module=StudentModule(student, config, costs),
        learned=train_loader(lessons.learned, lessons.sampler, **loading),
        held_out=whole_image_loader(lessons.held_out, lessons.num_held_out, rank=this_rank(), **loading),
        name=f"student {config.name}",
        folder=folder,
        precision=precision_for(student.model, context.trainer),
        callbacks=[*lessons.callbacks, *erasing, *publishing(context, config.name, lambda: student, folder / "best")],
    )


def _live_passes(config: StudentConfig, lessons: Lessons, fitted: dict[str, float]) -> PassCount:
    """The images that a live teacher answered, in all processes."""
    share = len(lessons.sampler)
    shown = share - share % config.fit.batch_size or share  # a last batch that is not full counts only by itself
    live_epochs = max(0, int(fitted["epochs"]) - config.live_from)
    live = shown * this_rank().world * live_epochs
    return PassCount(images_x_views=live, live=live)
