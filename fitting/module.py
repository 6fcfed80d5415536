"""The LightningModule that every fit optimizes, with AdamW, a linear warm-up and a cosine to zero."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from fitting.config import FitConfig
from fitting.processes import share_buffers
from run.errors import UserError, listed
from run.ranks import EndedElsewhereError, in_any_process

Batch = dict[str, Any]
"""A loader's batch: tensors by name, and ``image_id`` (a list of str)."""


class FitModule(pl.LightningModule):
    """A LightningModule that optimizes itself; a stage adds the loss.

    Args:
        config: the optimization.
        parameter_groups: as AdamW takes them. A group's ``lr_scale`` multiplies its learning rate
            (layer-wise decay, as timm's ``param_groups_layer_decay`` gives it).
    """

    def __init__(self, config: FitConfig, parameter_groups: list[dict[str, Any]]) -> None:
        super().__init__()
        self.config = config
        self._groups = parameter_groups

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Named means over the batch, ``loss`` (what is minimized) among them; or a value per image that counts [M]."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch; a loss that is not finite in any process ends the run and names the batch."""
        values = self.losses(batch)
        # All processes ask, whatever they found: one that raised alone would leave the others waiting for gradients.
        finite = bool(torch.isfinite(values["loss"]))
        if in_any_process(not finite, self.device):
            if finite:
                raise EndedElsewhereError
            raise UserError(
                f"the training loss is {values['loss'].item()} in epoch {self.current_epoch}, batch {batch_idx}; "
                "lower lr, or set trainer.precision to 32-true. Its images:\n" + listed(batch["image_id"])
            )
        self._log("train", values, batch)
        return values["loss"]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the same values on validation images."""
        self._log("val", self.losses(batch), batch)

    def on_validation_epoch_start(self) -> None:
        """Validate the running statistics that are kept: those of process 0."""
        # Not earlier: averaged weights, with their own buffers, are swapped in just before this.
        share_buffers(self)

    def _log(self, split: str, values: Mapping[str, Tensor], batch: Batch) -> None:
        for name, value in values.items():
            images = len(value) if value.ndim else len(batch["image_id"])
            mean = value.mean() if images else value.new_zeros(())
            size = images * self.trainer.world_size  # Lightning divides by world_size, as whole numbers
            self.log(f"{split}_{name}", mean, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """AdamW with a linear warm-up and a cosine to zero, stepped every batch."""
        groups = [
            {**{k: v for k, v in group.items() if k != "lr_scale"}, "lr": self.config.lr * group.get("lr_scale", 1.0)}
            for group in self._groups
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.config.lr, weight_decay=self.config.weight_decay)
        # Over all epochs, also where patience may stop earlier: a resumed fit has to find the same schedule.
        total = int(self.trainer.estimated_stepping_batches)
        warmup = int(total * self.config.warmup)
        schedule = LambdaLR(optimizer, lambda step: warmup_cosine(step, total, warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def warmup_cosine(step: int, total: int, warmup: int) -> float:
    """Learning-rate factor in [0, 1]: rises linearly over ``warmup`` steps, then falls as a half cosine to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))
