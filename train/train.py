"""Stage 1: fine-tune the teacher."""

from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray

from cache.fill import PassCount
from cache.frozen import FrozenModel
from cache.passes import teacher_passes
from cache.read import head_logits
from data.changes import Rows
from data.config import ViewsConfig
from data.examples import Examples
from data.manifest import Manifest
from data.working import warn_if_enlarged
from fitting.diagnosis import TRAINING, diagnose, diagnose_fit, diagnose_path, say, to_json
from fitting.history import best_of
from models import checkpoint
from models.adapting import Adapted, merge
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
from run.ranks import once
from run.stage import Inputs, stage
from train.config import TeacherConfig
from train.head import fit_head
from train.losses import Costs
from train.modes import choose_weights, refusal
from train.teacher import starting_point


def train(
    context: RunContext,
    manifest: Manifest,
    config: TeacherConfig,
    views: ViewsConfig,
    costs: Costs | None = None,
) -> None:
    """Fine-tune the teacher, calibrate it, and write ``teacher/model/`` and ``teacher/metrics.json``.

    Args:
        manifest: its labeled images are learned from.
        costs: ``labels.costs``.

    Raises:
        UserError: the model or its weights cannot be had, or the loss stopped being finite.
    """
    run = context.folder
    with stage(run, "train", _inputs(context, manifest, config, views, costs)) as current:
        if current.done:
            return
        work = current.work_folder(run.teacher / "fit")
        # Before the model is built: random weights are drawn from the seed, and so is what the fits draw after them.
        torch.manual_seed(context.seed)
        teacher = starting_point(manifest.labels, config)
        warn_if_enlarged(context.working_size, teacher.spec.size, "teacher")
        adapted = None if config.mode == "head" else _choose_weights(context, config, teacher)
        learning, validating, calibrating = teacher_passes(views)
        learned = learning.make_examples(context, manifest, views)
        held_out = validating.make_examples(context, manifest, views)
        # One object for training and calibration, so that the passes are counted together.
        backbone = FrozenModel(teacher, "features", context)
        metrics: dict[str, Json] = {}
        if config.trains_head:
            path = fit_head(context, config, backbone, (learned, learning.views), held_out, costs, work / "head")
            metrics["head"] = {**asdict(best_of(path)), "path": [asdict(point) for point in path]}
            notes = diagnose_path(path, config.head.weight_decays, kept=teacher.keeps_head)
        if config.mode != "head":
            # Not above: Lightning takes seconds, and a head does without it.
            from fitting.fit import fit
            from train.module import images_request

            folder = work / config.images_key
            fitted = fit(images_request(context, config, teacher, learned, held_out, costs, folder, adapted), context)
            metrics[config.images_key] = dict(fitted)
            # Instead of the head's: what that lacked, the fit of more layers may have made good.
            notes = diagnose_fit(fitted, config.on_images)
        if adapted is not None:
            # Before calibration: from here on the teacher is a plain model.
            merge(adapted)
        # Not learned from: a temperature fitted on those images would be too sure.
        unseen = calibrating.make_examples(context, manifest, views)
        logits = _calibration_logits(context, config, backbone, unseen)
        targets = unseen.rows.targets()
        calibration = calibrate(teacher, logits, targets)
        rule = DecisionRule.of(teacher.labels)
        training = "mode: lora or full" if config.mode == "head" else TRAINING
        notes = [*diagnose(logits, targets, rule, calibration.uncalibrated, training), *notes]
        say("the teacher", notes)
        metrics["calibration"] = asdict(calibration)
        metrics["diagnosis"] = to_json(notes)
        metrics["teacher_passes"] = asdict(backbone.passes)
        once(lambda: checkpoint.save(teacher, run.teacher / "model", _facts(config, teacher, calibration)))
        once(lambda: write_json(run.teacher / "metrics.json", metrics))
        current.wrote([*(run.teacher / "model").iterdir(), run.teacher / "metrics.json"])
    # After the stamp: a stage that is killed before it still has its finished fits.
    if config.mode != "head":
        from fitting.fit import remove_checkpoints

        once(lambda: remove_checkpoints(work))


def _facts(config: TeacherConfig, teacher: Classifier, calibration: Calibration) -> CheckpointFacts:
    return CheckpointFacts(
        labels=teacher.labels,
        base_model=public_name(config.model, teacher.revision),
        pretrained=config.pretrained,
        mode=config.mode,
        temperature=calibration.temperature,
        uncalibrated=calibration.uncalibrated,
    )


def _inputs(
    context: RunContext, manifest: Manifest, config: TeacherConfig, views: ViewsConfig, costs: Costs | None
) -> Inputs:
    """Everything the teacher depends on; the number of views matters only to a head trained on them."""
    relevant = {**views.drawing(), "count": views.count} if config.trains_head else views.drawing()
    return {
        "images": Rows.of_images(manifest, "train", "val"),
        "teacher": _relevant(config),
        "costs": costs,
        "views": relevant,
        "working_size": context.working_size,
        "seed": context.seed,
        "precision": context.trainer.precision,
    }


def _relevant(config: TeacherConfig) -> dict[str, Json]:
    """The section without other modes' keys, and without what saves memory alone: the gradient is the same."""
    section = asdict(config)
    used = {"head"} if config.trains_head else set()
    if config.mode != "head":
        used.add(config.images_key)
        del section[config.images_key]["grad_checkpointing"]
    for key in {"head", "full", "lora", "last_blocks"} - used:
        del section[key]
    return section


def _choose_weights(context: RunContext, config: TeacherConfig, teacher: Classifier) -> Adapted | None:
    """Let the mode's weights require gradients, and see that they can be trained here.

    Raises:
        UserError: the model cannot be trained in this mode, or the GPU's memory is too small for one image.
    """
    if refused := refusal(teacher.model, teacher.spec.size, config):
        raise UserError(refused)
    adapted = choose_weights(teacher, config)
    # Before the pass of a frozen backbone, which may take hours.
    require_room(
        teacher,
        device_of(context.trainer),
        "teacher",
        precision=precision_for(teacher.model, context.trainer),
        may_checkpoint=config.on_images.grad_checkpointing is not False,
    )
    return adapted


def _calibration_logits(
    context: RunContext, config: TeacherConfig, backbone: FrozenModel, unseen: Examples
) -> NDArray[np.float32]:
    """Logits [rows, C] of the validation split's labeled images, whole and as they are on disk."""
    teacher = backbone.classifier
    if config.mode == "head":
        return head_logits(teacher, backbone.compute_outputs(unseen, 1))[:, 0]
    backbone.passes.add(PassCount(images_x_views=len(unseen)))
    precision = precision_for(teacher.model, context.trainer)
    return whole_image_logits(teacher, unseen, context.trainer, precision, "calibrating the teacher")
