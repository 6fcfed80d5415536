"""What the teacher says of each view: from the cache, or live while a student is trained."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from cache.read import HeadLogits, ViewOutputs, head_logits
from cache.view_cache import Passes, outputs_over_views
from data.config import ViewsConfig
from data.manifest import Manifest
from data.views import ViewSpec
from data.working import with_copies
from distill.mixup import blended, draw
from fitting.fit import Batch
from models.classifier import Classifier
from models.device import resolve_precision
from models.facts import CheckpointFacts
from models.forward import Forward, Output, forward_of
from run.context import RunContext
from run.ranks import this_rank


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
    output = _cached_output(context)
    outputs = outputs_over_views(
        teacher,
        output,
        with_copies(part, context.folder, context.working_size),
        count,
        ViewSpec.of(views, context.working_size),
        root=context.folder.cache,
        trainer=context.trainer,
        precision=_precision(context),
        passes=passes,
    )
    return HeadLogits(teacher, outputs) if output == "features" else outputs


def live_logits(context: RunContext, teacher: Classifier) -> Forward:
    """The teacher, from its renders to logits [B, C], as the cache has them: the same precision, heads in float32."""
    output = _cached_output(context)
    forward = forward_of(teacher, output, context.trainer, _precision(context))
    return forward if output == "logits" else lambda images: head_logits(teacher, forward(images))


class LiveTeacher(Callback):
    """Answers batches that hold the teacher's renders, ``teacher_image``, in place of its logits, ``teacher``.

    It stands beside the student's module, not in it: the teacher is in no checkpoint, optimizer, average or DDP
    wrapper. Blends depend on the seed, the epoch, the batch's number and the process alone, so a resumed fit draws the
    same ones.

    Args:
        forward: uint8 or float images [B, 3, T, T] of 0 to 255 to logits [B, C].
        mixup: ``students[].mixup``; 0 blends nothing.
        seed: of the blends.
    """

    def __init__(self, forward: Forward, mixup: float, seed: int) -> None:
        self._forward = forward
        self._mixup = mixup
        self._seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Answer in the batch itself, which is on the device already."""
        self.answer(batch, trainer.current_epoch, batch_idx)

    def answer(self, batch: Batch, epoch: int, number: int) -> None:
        """Blend the batch if that is asked for, and put the teacher's logits in place of its renders.

        Batches without renders are left alone: the cache has answered them.
        """
        if "teacher_image" not in batch:
            return
        device = batch["image"].device
        if self._mixup:
            key = self._seed, epoch, number, this_rank().number
            share, partners = draw(self._mixup, len(batch["image"]), key)
            batch |= blended(batch, share, partners.to(device))
        batch["teacher"] = torch.from_numpy(self._forward(batch.pop("teacher_image"))).to(device)


def _cached_output(context: RunContext) -> Output:
    """What the cache holds of this run's teacher."""
    in_head_mode = CheckpointFacts.read(context.folder.teacher / "model").mode == "head"
    return "features" if in_head_mode else "logits"


def _precision(context: RunContext) -> str:
    return resolve_precision(context.trainer, convolutional=False)
