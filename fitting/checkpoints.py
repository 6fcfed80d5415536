"""Checkpoints of a fit: its state after each epoch and within long ones, and the weights of its best epoch.

``last.ckpt`` is everything that the fit goes on from, ``previous.ckpt`` the one before, ``best.ckpt`` weights alone.
"""

import math
import time
import zipfile
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback, Checkpoint
from torch.utils.data import DataLoader

from run.console import log
from run.errors import quoted
from run.files import atomic_path

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
ASIDE = ".unreadable"
"""Ending of a checkpoint that is set aside."""


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes beside the place where a checkpoint ends, and renames: a killed write leaves what was there."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """As ``torch.save``."""
        # A file of Python's: where the disk is full, torch's own writer does not say so.
        with atomic_path(Path(path)) as partial, partial.open("wb") as file:
            torch.save(checkpoint, file)


class BestEpoch(Callback):
    """Keeps weights and metrics of the epoch with the lowest validation loss, across resumptions.

    It stands before weight averaging in the list of callbacks: while it runs, averaged weights are in place.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / BEST
        self.metrics: dict[str, float] = {}

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        now = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("val_")}
        lately = self._lately(now["val_loss"])
        if now["val_loss"] < self.metrics.get("val_loss", math.inf):
            self.metrics = {**now, "epoch": float(trainer.current_epoch)}
            # Before the state that tells of it: a fit killed in between repeats this epoch and writes the same again.
            if trainer.is_global_zero:
                AtomicCheckpoints().save_checkpoint({"state_dict": pl_module.state_dict()}, self._path)
        self.metrics |= lately

    def _lately(self, loss: float) -> dict[str, float]:
        """The validation losses of the last two epochs, as far as they are numbers."""
        both = {"previous_val_loss": self.metrics.get("last_val_loss", math.nan), "last_val_loss": loss}
        return {name: value for name, value in both.items() if math.isfinite(value)}

    def state_dict(self) -> dict[str, Any]:
        return dict(self.metrics)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.metrics = dict(state_dict)


class KeepState(Checkpoint):
    """Keeps the state of the whole fit after every epoch, and every so many minutes within one.

    Lightning calls a ``Checkpoint`` after all other callbacks, so what they did in the same step is in the state.

    Args:
        learned: the training batches, drawn by a sampler that can start anywhere.
        minutes: null keeps the state after epochs alone.
    """

    def __init__(self, folder: Path, learned: DataLoader[Any], minutes: float | None) -> None:
        self._folder = folder
        self._learned = learned
        self._seconds = math.inf if minutes is None else 60 * minutes
        self._kept = time.monotonic()
        self._next = {"epoch": 0, "batch": 0}

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *step: Any) -> None:
        done = int(step[-1]) + 1
        if self._seconds < math.inf and done < trainer.num_training_batches:
            due = time.monotonic() - self._kept >= self._seconds
            # One clock decides: processes that disagreed would wait for each other forever.
            if trainer.strategy.broadcast(due):
                self._keep(trainer, trainer.current_epoch, done)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # All processes ask for the metrics: whoever asks first adds them up, and waits until the others ask too.
        _ = trainer.callback_metrics
        self._keep(trainer, trainer.current_epoch + 1, 0)

    def state_dict(self) -> dict[str, Any]:
        return dict(self._next)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Now, before Lightning asks for the first batch: worker processes fetch ahead, by what the sampler says then.
        sampler: Any = self._learned.sampler
        sampler.start_at(state_dict["epoch"], state_dict["batch"] * (self._learned.batch_size or 1))

    def _keep(self, trainer: pl.Trainer, epoch: int, batch: int) -> None:
        self._next = {"epoch": epoch, "batch": batch}
        last = self._folder / LAST
        if trainer.is_global_zero and last.is_file():
            last.replace(self._folder / PREVIOUS)
        trainer.save_checkpoint(last)
        self._kept = time.monotonic()


def find_state(folder: Path) -> Path | None:
    """The newest state to go on from; what cannot be read is set aside, and said."""
    path = next((folder / name for name in (LAST, PREVIOUS) if _is_readable(folder / name)), None)
    if path is None:
        return None
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if BestEpoch.__name__ in state["callbacks"] and not _is_readable(folder / BEST):
        log.print(f"{folder / BEST}, the best epoch so far, is not there: the fit starts over", soft_wrap=True)
        return None
    return path


def is_whole(path: Path) -> bool:
    """True where a checkpoint is there and every part is as ``torch.save`` wrote it, by its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError):
        return False


def remove_states(folder: Path) -> None:
    """Delete what a finished fit no longer needs."""
    for path in (folder / LAST, folder / PREVIOUS, *folder.glob(f"*{ASIDE}")):
        path.unlink(missing_ok=True)


def _is_readable(path: Path) -> bool:
    """``is_whole``; a file that is not is set aside."""
    if is_whole(path):
        return True
    if path.is_file():
        aside = path.with_suffix(ASIDE)
        path.replace(aside)
        log.print(f"{quoted(path)} cannot be read and is set aside as {aside.name}", soft_wrap=True)
    return False
