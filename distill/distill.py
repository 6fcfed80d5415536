"""Stage 2: train students from what the teacher said of each view."""

from dataclasses import asdict, replace

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from data.config import ViewsConfig
from data.loaders import EpochSampler, ViewDataset, train_loader, whole_image_loader
from data.manifest import Manifest
from data.views import ViewSpec
from distill.config import StudentConfig
from distill.module import StudentModule
from models import checkpoint
from models.calibrate import calibrate
from models.classifier import Classifier, build
from models.forward import whole_image_logits
from models.labelled import labelled_rows
from models.publish import publishing
from models.view_cache import head_logits, outputs_over_views
from run.console import log
from run.context import RunContext
from run.files import Json, file_digest, write_json
from run.fit import fit, resolve_precision
from run.folder import resumable
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
        manifest: its images are learnt from, labelled or not.
        config: the student.
        views: what it looks at.
        teacher: says what it should say.
        costs: ``labels.costs``.

    Returns:
        The student.

    Raises:
        UserError: the student or its weights cannot be had, or the loss stopped being finite.
    """
    run, name = context.folder, config.name
    inputs: dict[str, Json] = {
        "manifest": file_digest(run.manifest),
        "teacher": teacher.weights_digest(),
        "student": asdict(config),
        "costs": costs,
        "views": asdict(views),
        "seed": context.seed,
        "precision": context.trainer.precision,
    }
    folder = run.student(name) / "model"
    if run.skips(f"distill-{name}", inputs):
        return checkpoint.load(folder, manifest.labels)
    work = resumable(run.student(name) / "fit", inputs)
    pl.seed_everything(context.seed, verbose=False)
    student = build(
        config.model, manifest.labels, key=f"student {name}", pretrained=config.pretrained, image_size=config.image_size
    )
    student = replace(student, spec=student.spec.squashed())
    _warn_if_larger(student, teacher, name)
    metrics: dict[str, Json] = {"fit": dict(_fit(context, manifest, config, views, teacher, student, costs))}
    part, spec = labelled_rows(manifest, "calibration"), ViewSpec.of(views)
    logits = whole_image_logits(student, part, spec, context.trainer, "32-true", f"calibrating {name}")
    metrics["calibration"] = calibration = calibrate(student, logits, part.targets())
    facts: dict[str, Json] = {
        "base_model": config.model,
        "pretrained": config.pretrained,
        "teacher": teacher.weights_digest(),
        "temperature": calibration["temperature"],
    }
    checkpoint.save(student, folder, facts)
    write_json(run.student(name) / "metrics.json", metrics)
    run.mark_done(f"distill-{name}", inputs, [*folder.iterdir(), run.student(name) / "metrics.json"])
    for path in work.rglob("*.ckpt"):
        path.unlink()
    return checkpoint.load(folder, manifest.labels)


def _warn_if_larger(student: Classifier, teacher: Classifier, name: str) -> None:
    ours, theirs = (sum(weight.numel() for weight in one.model.parameters()) for one in (student, teacher))
    if ours > theirs:
        log.print(f"Warning: student {name} has {ours / 1e6:.1f} M weights, its teacher only {theirs / 1e6:.1f} M")


def teacher_logits(
    context: RunContext, part: Manifest, views: ViewsConfig, count: int, teacher: Classifier
) -> NDArray[np.floating]:
    """The teacher's logits [rows, count, C] for the first ``count`` views of each row.

    A head-mode teacher's come from the features that its head was trained on; any other's from a pass of its own.
    """
    in_head_mode = checkpoint.facts_of(context.folder.teacher / "model")["mode"] == "head"
    outputs = outputs_over_views(
        teacher,
        "features" if in_head_mode else "logits",
        part,
        count,
        ViewSpec.of(views),
        root=context.folder.cache,
        trainer=context.trainer,
        precision=resolve_precision(context.trainer, convolutional=False),
    )
    return head_logits(teacher, outputs) if in_head_mode else outputs


def _fit(
    context: RunContext,
    manifest: Manifest,
    config: StudentConfig,
    views: ViewsConfig,
    teacher: Classifier,
    student: Classifier,
    costs: Costs | None,
) -> dict[str, float]:
    workers, spec, folder = context.trainer.num_workers, ViewSpec.of(views), context.folder.student(config.name) / "fit"
    parts = manifest.usable("train", "unlabeled"), manifest.usable("val")
    datasets = [
        ViewDataset(part, student.spec.render, spec, teacher_logits(context, part, views, count, teacher))
        for part, count in zip(parts, (views.count, 1), strict=True)
    ]
    sampler = EpochSampler(len(parts[0]), views.count, context.seed)
    loaders = (
        train_loader(datasets[0], sampler, batch_size=config.fit.batch_size, workers=workers),
        whole_image_loader(datasets[1], len(parts[1]), batch_size=config.fit.batch_size, workers=workers),
    )
    student.model.requires_grad_(True).to(memory_format=torch.channels_last)  # convolutions train faster so on a CPU
    return fit(
        StudentModule(student, config, costs),
        loaders,
        name=f"student {config.name}",
        folder=folder,
        config=config.fit,
        precision=resolve_precision(context.trainer, convolutional=True),
        context=context,
        callbacks=publishing(context, config.name, student, folder / "best"),
    )
