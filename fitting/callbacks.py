"""Lightning callbacks of a fit: random draws, averaging, early stopping, publishing the best weights so far."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fitting.history import Epoch, write_history
from fitting.progress import BESIDE
from models import checkpoint
from models.classifier import Classifier
from models.facts import CheckpointFacts
from run.context import RunContext
from run.ranks import this_rank


class Draws(Callback):
    """Seeds what a step draws at random (dropout and the like) by the seed, epoch, batch and process alone.

    A resumed fit then draws the same numbers, however many were drawn before it was interrupted.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        key = self._seed, trainer.current_epoch, batch_idx, this_rank().number
        number = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
        if pl_module.device.type == "cpu":
            torch.default_generator.manual_seed(number)
        else:  # seeds every kind of device; of those that are not there it keeps a stack trace each time
            torch.manual_seed(number)


class Averaging(WeightAveraging):
    """Averages weights and buffers with a decay that rises with the steps, up to ``decay``.

    A fixed decay of 0.999 gives what was there before the first step 95 % of the average after 50 steps.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=self._update)
        self._largest = decay

    def _update(self, averages: Any, current: Any, steps_before: Tensor) -> None:
        decay = decay_at(int(steps_before) + 1, self._largest)
        get_ema_multi_avg_fn(decay)(averages, current, steps_before)  # type: ignore[no-untyped-call]


def decay_at(step: int, largest: float) -> float:
    """Decay of the average at a step, counted from 1: that of an average over about the last ninth of the steps so far.

    As in TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``.
    """
    return min(largest, (1 + step) / (10 + step))


class Patience(EarlyStopping):
    """Early stopping by validation loss; a fit that was killed once it had decided to stop does not go on."""

    def __init__(self, epochs: int) -> None:
        super().__init__("val_loss", patience=epochs)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = self.wait_count >= self.patience


class Curves(Callback):
    """Keeps losses and shares of every epoch, across resumptions; it stands before what keeps the state."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._epochs: list[dict[str, Any]] = []
        self._whole = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._whole = True  # Lightning does not call this where a fit goes on within an epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        found = {name: value for name, value in metrics.items() if math.isfinite(value)}
        shares = {name: found[f"val_{name}"] for name in BESIDE if f"val_{name}" in found}
        train_loss = found["train_loss"] if self._whole else None
        self._epochs.append({"train_loss": train_loss, "val_loss": found.get("val_loss"), "shares": shares})
        self._whole = False
        if trainer.is_global_zero:
            write_history(self._folder, [Epoch(**epoch) for epoch in self._epochs])

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": list(self._epochs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._epochs = list(state_dict["epochs"])


@dataclass(eq=False)
class PublishBest(Callback):
    """Hands a checkpoint folder to ``publish`` whenever the validation loss improves.

    It runs inside validation, where averaged weights, if there are any, are in place.
    """

    name: str
    classifier: Callable[[], Classifier]
    """Gives the model as it is then."""
    folder: Path
    publish: Callable[[str, Path, str], None]
    best: float = field(default=math.inf, init=False)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loss = float(trainer.callback_metrics["val_loss"])
        if loss < self.best and trainer.is_global_zero:
            self.best = loss
            classifier = self.classifier()
            facts = CheckpointFacts(
                labels=classifier.labels,
                uncalibrated="is still being trained",
                epoch=trainer.current_epoch,
                val_loss=loss,
            )
            checkpoint.save(classifier, self.folder, facts)
            message = f"{self.name}: epoch {trainer.current_epoch}, validation loss {loss:.4f}"
            self.publish(self.name, self.folder, message)

    def state_dict(self) -> dict[str, Any]:
        # Kept in the checkpoint, so that a resumed fit publishes only what is better still.
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


def publishing(context: RunContext, name: str, classifier: Callable[[], Classifier], folder: Path) -> list[Callback]:
    """The callback, where the run publishes checkpoints; else none. ``classifier`` gives the model as it is then."""
    return [] if context.publish is None else [PublishBest(name, classifier, folder, context.publish)]
