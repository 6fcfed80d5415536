"""Publishing the best weights so far while a fit goes on."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from models import checkpoint
from models.classifier import Classifier
from models.facts import CheckpointFacts
from run.context import RunContext


class PublishBest(Callback):
    """Hands a checkpoint folder to ``publish`` whenever the validation loss improves.

    It runs inside validation, where averaged weights, if there are any, are in place.
    """

    def __init__(self, name: str, classifier: Classifier, folder: Path, publish: Callable[[str, Path, str], None]):
        self._name = name
        self._classifier = classifier
        self._folder = folder
        self._publish = publish
        self._best = math.inf

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save and publish if this epoch is the best so far."""
        loss = float(trainer.callback_metrics["val_loss"])
        if loss < self._best and trainer.is_global_zero:
            self._best = loss
            facts = CheckpointFacts(labels=self._classifier.labels, epoch=trainer.current_epoch, val_loss=loss)
            checkpoint.save(self._classifier, self._folder, facts)
            message = f"{self._name}: epoch {trainer.current_epoch}, validation loss {loss:.4f}"
            self._publish(self._name, self._folder, message)

    def state_dict(self) -> dict[str, Any]:
        """The best loss, for the checkpoint: a resumed fit publishes only what is better still."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The best loss, from the checkpoint."""
        self._best = state_dict["best"]


def publishing(context: RunContext, name: str, classifier: Classifier, folder: Path) -> list[Callback]:
    """The callback, where the run publishes checkpoints."""
    return [] if context.publish is None else [PublishBest(name, classifier, folder, context.publish)]
