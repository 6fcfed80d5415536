"""A live teacher: it answers each batch while a student is trained."""

from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from distill.mixup import blended, draw
from fitting.module import Batch
from models.forward import Forward
from run.ranks import this_rank


@dataclass(eq=False)
class LiveTeacher(Callback):
    """Answers batches that hold the teacher's renders, ``teacher_image``, with its logits, ``teacher``.

    It stands beside the student's module, not in it: the teacher is in no checkpoint, optimizer, average or DDP
    wrapper. Blends depend on the seed, the epoch, the batch's number and the process alone, so a resumed fit draws the
    same ones.
    """

    forward: Forward
    """uint8 or float images [B, 3, T, T] of 0 to 255 to logits [B, C]."""
    mixup: float
    """``students[].mixup``; 0 blends nothing."""
    seed: int

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
        if self.mixup:
            key = self.seed, epoch, number, this_rank().number
            share, partners = draw(self.mixup, len(batch["image"]), key)
            # Before the teacher looks: it answers to the very blend that the student sees.
            batch |= blended(batch, share, partners.to(device))
        batch["teacher"] = torch.from_numpy(self.forward(batch.pop("teacher_image"))).to(device)
