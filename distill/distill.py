"""Stage 2: train students from what the teacher said of each view."""

from dataclasses import asdict, replace

import pytorch_lightning as pl
import torch

from data.config import ViewsConfig
from data.loaders import EpochSampler, ViewDataset, train_loader, whole_image_loader
from data.manifest import Manifest
from data.views import ViewSpec
from data.working import warn_if_enlarged, with_copies
from distill.config import StudentConfig
from distill.module import StudentModule
from models import checkpoint
from models.calibrate import calibrate
from models.classifier import Classifier, build
from models.forward import whole_image_logits
from models.labelled import labelled_rows
from models.publish import publishing
from models.view_cache import Passes, outputs_over_views
from models.view_outputs import HeadLogits, ViewOutputs
from run.console import log
from run.context import RunContext
from run.files import Json, write_json
from run.fit import fit, resolve_precision
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
        "images": manifest.digest("train", "unlabeled", "val", "calibration"),
        "teacher": None if config.loss == "labels" else teacher.weights_digest(),
        "student": asdict(config),
        "costs": costs,
        "views": asdict(views),
        "working_size": context.working_size,
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
    warn_if_enlarged(context.working_size, student.spec.size, f"student {name}")
    passes = Passes()
    metrics: dict[str, Json] = {"fit": dict(_fit(context, manifest, config, views, teacher, student, costs, passes))}
    metrics["teacher_passes"] = passes.to_json()
    part, spec = labelled_rows(manifest, "calibration"), ViewSpec.of(views)
    logits = whole_image_logits(student, part, spec, context.trainer, "32-true", f"calibrating {name}")
    metrics["calibration"] = calibration = calibrate(student, logits, part.targets())
    facts: dict[str, Json] = {
        "base_model": config.model,
        "pretrained": config.pretrained,
        "teacher": inputs["teacher"],
        "temperature": calibration["temperature"],
    }

    def write() -> None:
        checkpoint.save(student, folder, facts)
        write_json(run.student(name) / "metrics.json", metrics)
        run.mark_done(f"distill-{name}", inputs, [*folder.iterdir(), run.student(name) / "metrics.json"])
        for path in work.rglob("*.ckpt"):
            path.unlink()

    once(write)
    return checkpoint.load(folder, manifest.labels)


def _warn_if_larger(student: Classifier, teacher: Classifier, name: str) -> None:
    ours, theirs = (sum(weight.numel() for weight in one.model.parameters()) for one in (student, teacher))
    if ours > theirs:
        log.print(f"Warning: student {name} has {ours / 1e6:.1f} M weights, its teacher only {theirs / 1e6:.1f} M")


def teacher_logits(
    context: RunContext,
    part: Manifest,
    views: ViewsConfig,
    count: int,
    teacher: Classifier,
    passes: Passes | None = None,
) -> ViewOutputs:
    """The teacher's logits [rows, count, C] for the first ``count`` views of each row.

    A head-mode teacher's come from the features that its head was trained on; any other's from a pass of its own.
    ``passes`` counts what had to be computed.
    """
    in_head_mode = checkpoint.facts_of(context.folder.teacher / "model")["mode"] == "head"
    outputs = outputs_over_views(
        teacher,
        "features" if in_head_mode else "logits",
        with_copies(part, context.folder, context.working_size),
        count,
        ViewSpec.of(views, context.working_size),
        root=context.folder.cache,
        trainer=context.trainer,
        precision=resolve_precision(context.trainer, convolutional=False),
        passes=passes,
    )
    return HeadLogits(teacher, outputs) if in_head_mode else outputs


def _fit(
    context: RunContext,
    manifest: Manifest,
    config: StudentConfig,
    views: ViewsConfig,
    teacher: Classifier,
    student: Classifier,
    costs: Costs | None,
    passes: Passes,
) -> dict[str, float]:
    workers, folder = context.trainer.workers, context.folder.student(config.name) / "fit"
    spec = ViewSpec.of(views, context.working_size)
    manifest = with_copies(manifest.usable("train", "unlabeled", "val"), context.folder, context.working_size)
    images, held_out = manifest.usable("train", "unlabeled"), manifest.usable("val")
    if config.loss == "labels":
        config = _for_as_many_steps(config, images, manifest.usable("train"))
        images, count = manifest.usable("train"), None
        datasets = [ViewDataset(part, student.spec.render, spec) for part in (images, held_out)]
    else:
        count = views.count
        datasets = [
            ViewDataset(part, student.spec.render, spec, teacher_logits(context, part, views, number, teacher, passes))
            for part, number in ((images, count), (held_out, 1))
        ]
    sampler = EpochSampler(len(images), count, context.seed)
    sizes: dict[str, int] = {"batch_size": config.fit.batch_size, "workers": workers}
    loaders = (
        train_loader(datasets[0], sampler, **sizes),
        whole_image_loader(datasets[1], len(held_out), rank=this_rank(), **sizes),
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


def _for_as_many_steps(config: StudentConfig, images: Manifest, fewer: Manifest) -> StudentConfig:
    """More epochs, where an epoch is shorter because unlabelled images are left out."""
    epochs = round(config.fit.epochs * len(images) / len(fewer))
    return replace(config, fit=replace(config.fit, epochs=epochs))
