"""Progress of a fit, on the screen or in a log: epoch, losses, the epoch that is kept, time spent and left, memory."""

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from fitting.checkpoints import BestEpoch
from run.console import log, say_with_time
from run.usage import duration, peak_memory

BESIDE = {"accuracy": "accuracy {:.1%}", "macro_f1": "macro F1 {:.3f}", "agreement": "agreement {:.1%}"}
"""Metrics of the validation images beside the loss."""


class FitProgress(Callback):
    """A bar for the whole fit; without a terminal, a line with the time for every epoch."""

    def __init__(self, name: str, best: BestEpoch) -> None:
        self._name = name
        self._best = best
        self._bar = Progress(
            TextColumn("{task.description}", table_column=Column(overflow="fold")),  # wraps where it is narrow
            BarColumn(bar_width=12),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("spent,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=log,
            disable=not log.is_terminal,
        )
        self._task = TaskID(0)
        self._total = 0
        self._started = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self._total = int(trainer.num_training_batches) * (trainer.max_epochs or 1)
            self._started = time.monotonic()
            self._first_step = trainer.global_step  # a resumed fit has done these before
            self._task = self._bar.add_task(self._name, total=self._total, completed=trainer.global_step)
            self._bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.is_global_zero:
            self._bar.update(self._task, completed=trainer.global_step)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        facts = self._facts(trainer)  # in all processes, which add metrics up together
        if trainer.is_global_zero:
            self._bar.update(self._task, description=f"{self._name} · {' · '.join(facts)}")
            if not log.is_terminal:
                say_with_time(f"{self._name}: {', '.join([*facts, *self._times(trainer)])}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        ran = trainer.current_epoch
        asked = trainer.max_epochs or 0
        if trainer.is_global_zero and trainer.should_stop and not trainer.interrupted and ran < asked:
            text = (
                f"{self._name}: stopped early after epoch {ran} of {asked}, because the validation loss got no better; "
                f"epoch {self._best.metrics['epoch'] + 1:.0f} is kept"
            )
            # Full, because nothing is left to do.
            self._bar.update(self._task, total=self._total, completed=self._total)
            (log.print if log.is_terminal else say_with_time)(text)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._bar.stop()  # leaves the line on the screen, however the fit ended

    def _facts(self, trainer: pl.Trainer) -> list[str]:
        metrics = trainer.callback_metrics
        beside = [form.format(metrics[f"val_{name}"]) for name, form in BESIDE.items() if f"val_{name}" in metrics]
        return [
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}",
            f"validation loss {metrics['val_loss']:.3f}",
            *beside,
            f"best epoch {self._best.metrics['epoch'] + 1:.0f}",
            *filter(None, [peak_memory()]),
        ]

    def _times(self, trainer: pl.Trainer) -> list[str]:
        spent = time.monotonic() - self._started
        done = trainer.global_step - self._first_step
        left = spent * (self._total - trainer.global_step) / max(1, done)
        return [f"{duration(spent)} spent", f"{duration(left)} left"]
