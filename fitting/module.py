"""The LightningModule that every fit optimizes, with AdamW, a linear warm-up and a cosine to zero."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from fitting.config import FitConfig
from fitting.metrics import MacroF1, decided
from fitting.micro_batch import MicroBatches, parts_of, whole_of
from fitting.processes import share_buffers
from fitting.stochastic_depth import DropPathOfBatch
from models.decision import DecisionRule
from run.errors import UserError, listed
from run.ranks import EndedElsewhereError, in_any_process, this_rank

Batch = dict[str, Any]
"""A loader's batch: tensors by name, and ``image_id`` (a list of str)."""
SAID, TRUE = "said", "true"
"""Among the values of validation images: what macro F1 counts."""


class FitModule(pl.LightningModule):
    """A LightningModule that optimizes itself; a stage adds the loss.

    Args:
        parameter_groups: as AdamW takes them. A group's ``lr_scale`` multiplies its learning rate
            (layer-wise decay, as timm's ``param_groups_layer_decay`` gives it).
        rule: of the label set; null where nothing is decided.
    """

    whole: str = ""
    """Reason why the loss of a batch is no mean over its images, as the end of a sentence; empty where it is one."""
    checkpointing: bool | Literal["auto"] = False
    """The model computes activations again in the backward pass; ``auto`` where not even one image fits without."""

    def __init__(
        self, config: FitConfig, parameter_groups: list[dict[str, Any]], rule: DecisionRule | None = None
    ) -> None:
        super().__init__()
        # A step may take several passes: Lightning's own way is one loss and one backward pass.
        self.automatic_optimization = False
        self.config = config
        self._groups = parameter_groups
        self._agreed = False
        self._checkpoints = False
        self.micro_batches: MicroBatches | None = None
        """Given by ``fit``; without, batches go through whole."""
        self.drop_paths: list[DropPathOfBatch] = []
        """Likewise."""
        self._rule = rule
        self._macro_f1 = MacroF1(len(rule.labels)) if rule and rule.exclusive else None

    @property
    def rule(self) -> DecisionRule:
        """Of the label set."""
        assert self._rule is not None
        return self._rule

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Named means over the batch, ``loss`` (what is minimized) among them; or a value per image that counts [M]."""

    def checkpoint_activations(self, on: bool) -> None:
        """Turn timm's activation checkpointing on or off."""
        model: Any = self.model
        model.set_grad_checkpointing(on)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One optimizer step; a loss that is not finite in any process ends the run and names the batch."""
        optimizer: Any = self.optimizers()
        if this_rank().world > 1 and not self._agreed:
            self._agree_on_what_fits(batch)
        values = self._values(batch)
        # All processes ask, whatever they found: one that raised alone would leave the others waiting.
        finite = bool(torch.isfinite(values["loss"]))
        if in_any_process(not finite, self.device):
            if finite:
                raise EndedElsewhereError
            raise UserError(
                f"the training loss is {values['loss'].item()} in epoch {self.current_epoch}, batch {batch_idx}; "
                "lower lr, or set trainer.precision to 32-true. Its images:\n" + listed(batch["image_id"])
            )
        self._log("train", values, batch)
        self._step(optimizer)
        schedule: Any = self.lr_schedulers()
        schedule.step()
        return values["loss"]

    def _step(self, optimizer: Any) -> None:
        try:
            with self._without_autocast():
                optimizer.step()
        except torch.OutOfMemoryError as error:
            # Not tried again with fewer images at a time: some weights may be new already.
            raise UserError(
                "memory is too small for the optimizer's state, twice the size of what is trained: choose a "
                "teacher.mode that trains less (lora, last_blocks, head), a smaller model, or a larger device"
            ) from error

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Clip here: in 16-mixed, gradients are scaled until now."""
        self.clip_gradients(optimizer, self.config.clip_norm, "norm")

    def _values(self, batch: Batch) -> dict[str, Tensor]:
        """``losses`` of a batch, which goes through in parts that fit; in training, with the gradient of each.

        Raises:
            UserError: memory is too small for the smallest part, or it is in one of several processes.
        """
        while True:
            size = self._part_size(batch)
            try:
                return self._in_parts(batch, size)
            except torch.OutOfMemoryError:
                if self.micro_batches is None:
                    raise
            # Out of the except block, where the error still holds the tensors of the failed pass.
            self._shrink(size)
            if this_rank().world > 1:  # the others are in the midst of a step that cannot be begun again without them
                raise UserError("memory was too small in one of several processes: run the same command again")
            # As the step began: it is gone through as if this split had been known before.
            torch.manual_seed(torch.initial_seed())

    def _agree_on_what_fits(self, batch: Batch) -> None:
        """Try a part without learning from it, until it fits in every process."""
        while self.micro_batches is not None and self.micro_batches.may_shrink:
            size = self._part_size(batch)
            _, part = next(parts_of(batch, size))
            fits = True
            try:
                with self._alone():
                    self._in_parts(part, size)
            except torch.OutOfMemoryError:
                fits = False
            if not in_any_process(not fits, self.device):
                break
            self._shrink(size)
        self._agreed = True
        torch.manual_seed(torch.initial_seed())

    def _part_size(self, batch: Batch) -> int:
        if self.micro_batches is None:
            return len(batch["image_id"])
        split = self.micro_batches.at(self.global_step)
        if self._checkpoints != split.checkpointing:
            self.checkpoint_activations(split.checkpointing)
            self._checkpoints = split.checkpointing
        return min(split.images, len(batch["image_id"]))

    def _shrink(self, size: int) -> None:
        self.zero_grad()
        torch.cuda.empty_cache()
        assert self.micro_batches is not None, "without, memory is not looked after"
        self.micro_batches.shrink(self.global_step, size)

    def _in_parts(self, batch: Batch, size: int) -> dict[str, Tensor]:
        total = len(batch["image_id"])
        self.zero_grad()
        found = []
        sizes: list[int] = []
        for start, part in parts_of(batch, size):
            for layer in self.drop_paths:
                layer.part = start, total
            values = self.losses(part)
            sizes.append(len(part["image_id"]))
            if self.training:
                self._backward(values["loss"], sizes[-1] / total, last=sum(sizes) == total)
            found.append({name: value.detach() for name, value in values.items()})
        return whole_of(found, sizes)

    def _backward(self, loss: Tensor, share: float, last: bool) -> None:
        """Add the gradient of a part's share of the batch; processes exchange gradients after the last one."""
        with self._without_autocast(), nullcontext() if last else self._alone():
            self.manual_backward(loss * share if share < 1 else loss)

    def _alone(self) -> AbstractContextManager[None]:
        """No gradient is exchanged while the block runs."""
        strategy = self.trainer.strategy
        return strategy.block_backward_sync() if isinstance(strategy, DDPStrategy) else nullcontext()

    def _without_autocast(self) -> torch.autocast:
        """Lightning runs the whole of a training step under autocast, which is for forward passes."""
        return torch.autocast(self.device.type, enabled=False)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the same values on validation images, and macro F1."""
        values = self._values(batch)
        # Here and not in `losses`: a part of a batch that memory was too small for goes through again.
        said, true = (values.pop(name, None) for name in (SAID, TRUE))
        self._log("val", values, batch)
        if self._macro_f1 is not None and said is not None and true is not None:
            if len(true):
                self._macro_f1.update(said, true)
            self.log("val_macro_f1", self._macro_f1, on_step=False, on_epoch=True)

    def judged(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """For logits and targets [B, C]: 1 where an image is decided as its target says [M], ties left out.

        In validation, what macro F1 counts too.
        """
        said, true = decided(logits, targets, self.rule)
        counted = {} if self.training or self._macro_f1 is None else {SAID: said, TRUE: true}
        return {"accuracy": (said == true).reshape(len(true), -1).all(1).to(logits), **counted}

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
        # Fused, a small student's step on a CPU saves a tenth of its time. In mixed precision Lightning refuses to clip
        # the gradients of a fused optimizer, because that one may unscale them itself.
        fused = self.trainer.precision == "32-true"
        optimizer = torch.optim.AdamW(groups, lr=self.config.lr, weight_decay=self.config.weight_decay, fused=fused)
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
