"""One fit: Lightning's trainer with the project's checkpoints, resumption, averaging, tracking and progress."""

import json
import logging
import math
import signal
import sys
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from fitting.config import FitConfig
from fitting.processes import Processes, data_parallel, seed_apart, share_buffers, synchronize_batch_norm
from fitting.tracking import finishing, loggers
from run.console import log
from run.context import RunContext
from run.errors import UserError, listed
from run.files import write_json
from run.ranks import EndedElsewhereError, in_any_process, once, require_processes, this_rank

Batch = dict[str, Any]
"""What a loader yields: tensors by name, and ``image_id`` (a list of str)."""


class FitModule(pl.LightningModule):
    """A LightningModule that knows how to optimize; a stage says what the loss is.

    Args:
        config: the optimization.
        parameter_groups: as AdamW takes them. A group's ``lr_scale`` multiplies its learning rate
            (layer-wise decay, as timm's ``param_groups_layer_decay`` gives it).
    """

    def __init__(self, config: FitConfig, parameter_groups: list[dict[str, Any]]) -> None:
        super().__init__()
        self._config = config
        self._groups = parameter_groups

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Named mean values over the batch, ``loss`` (what is minimized, a scalar) among them."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch; a loss that is not finite in any process ends the run and names the batch."""
        values = self.losses(batch)
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
        """Validate process 0's running statistics everywhere: they are kept. Averaged weights are in place by now."""
        share_buffers(self)

    def _log(self, split: str, values: Mapping[str, Tensor], batch: Batch) -> None:
        named = {f"{split}_{name}": value for name, value in values.items()}
        size = len(batch["image_id"]) * self.trainer.world_size  # Lightning divides by world_size, as whole numbers
        self.log_dict(named, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """AdamW with a linear warm-up and a cosine to zero, stepped every batch."""
        groups = [
            {**{k: v for k, v in group.items() if k != "lr_scale"}, "lr": self._config.lr * group.get("lr_scale", 1.0)}
            for group in self._groups
        ]
        optimizer = torch.optim.AdamW(groups, lr=self._config.lr, weight_decay=self._config.weight_decay)
        total = int(self.trainer.estimated_stepping_batches)
        warmup = int(total * self._config.warmup)
        schedule = LambdaLR(optimizer, lambda step: warmup_cosine(step, total, warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def warmup_cosine(step: int, total: int, warmup: int) -> float:
    """Learning-rate factor in [0, 1]: rises linearly over ``warmup`` steps, then falls as a half cosine to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


def fit(
    module: FitModule,
    loaders: tuple[Iterable[Batch], Iterable[Batch]],
    *,
    name: str,
    folder: Path,
    config: FitConfig,
    precision: str,
    context: RunContext,
    callbacks: Sequence[Callback] = (),
) -> dict[str, float]:
    """Fit ``module`` and leave it with the weights of its best epoch by validation loss.

    A checkpoint is kept after every epoch; called again with the same ``folder`` it continues from the last one. Where
    there are several processes, all have to call this, each with loaders of its own share.

    Args:
        module: trained in place.
        loaders: training and validation batches.
        name: shown beside the progress bar and given to the tracker.
        folder: checkpoints and ``log/version_N/metrics.csv``.
        config: the optimization.
        precision: Lightning's precision name, already resolved.
        context: where it runs and what is tracked.
        callbacks: more Lightning callbacks.

    Returns:
        The metrics of the best epoch, with ``epoch`` and ``epochs`` (how many were run).

    Raises:
        UserError: the loss stopped being finite, or there is not one process for each device.
        EndedElsewhereError: another process raised the UserError.
        KeyboardInterrupt: the user interrupted; the finished epochs are kept.
    """
    require_processes(context.trainer)
    metrics = once(lambda: _finished(folder))
    if metrics is None:
        metrics = _run(module, loaders, name, folder, config, precision, context, callbacks)
        once(lambda: write_json(folder / "done.json", metrics))
    state = torch.load(folder / "best.ckpt", map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    module.eval()
    once(lambda: (folder / "last.ckpt").unlink(missing_ok=True))
    return metrics


def _finished(folder: Path) -> dict[str, float] | None:
    """The metrics of a fit that is done."""
    done = folder / "done.json"
    if not (done.is_file() and (folder / "best.ckpt").is_file()):
        return None
    return dict(json.loads(done.read_text(encoding="utf-8")))


def _run(
    module: FitModule,
    loaders: tuple[Iterable[Batch], Iterable[Batch]],
    name: str,
    folder: Path,
    config: FitConfig,
    precision: str,
    context: RunContext,
    callbacks: Sequence[Callback],
) -> dict[str, float]:
    _quiet()
    folder.mkdir(parents=True, exist_ok=True)
    last = once(lambda: _existing(folder / "last.ckpt"))
    trainer, alone = context.trainer, this_rank().world == 1
    checkpoint = ModelCheckpoint(
        dirpath=folder, filename="best", monitor="val_loss", save_last=True, enable_version_counter=False
    )
    best = BestMetrics()
    extra: list[Callback] = [checkpoint, best, FitProgress(name), *callbacks]
    if config.patience is not None:
        extra.append(EarlyStopping("val_loss", patience=config.patience))
    if config.ema_decay is not None:
        extra.append(EMAWeightAveraging(decay=config.ema_decay))
    loop = pl.Trainer(
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        num_nodes=trainer.num_nodes,
        strategy="auto" if alone else data_parallel(trainer),
        precision=precision,  # type: ignore[arg-type]
        max_epochs=config.epochs,
        gradient_clip_val=config.clip_norm,
        callbacks=extra,
        logger=loggers(name, folder, context),
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=Processes(),
        use_distributed_sampler=False,  # the loaders share out the images
    )
    if loop.strategy.root_device.type == "cuda" and not alone:
        synchronize_batch_norm(module)
    seed_apart()
    module.train()  # Lightning keeps the mode it is given
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        with finishing(context.tracking):
            loop.fit(module, *loaders, ckpt_path=last, weights_only=True)
    except SystemExit:
        signal.signal(signal.SIGINT, on_interrupt)
        if loop.interrupted:  # Lightning turns Ctrl-C into exit(1)
            raise KeyboardInterrupt from None
        raise
    return {**best.metrics, "epochs": float(loop.current_epoch)}


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


class BestMetrics(Callback):
    """Remembers the metrics of the epoch with the lowest validation loss, across resumptions."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the epoch's validation metrics if they are the best so far."""
        now = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("val_")}
        if now["val_loss"] < self.metrics.get("val_loss", math.inf):
            self.metrics = {**now, "epoch": float(trainer.current_epoch)}

    def state_dict(self) -> dict[str, Any]:
        """The metrics, for the checkpoint."""
        return dict(self.metrics)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The metrics, from the checkpoint."""
        self.metrics = dict(state_dict)


class FitProgress(Callback):
    """One line for the whole fit: epoch, validation loss, time left."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f}%"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=log,
        )
        self._task = TaskID(0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin, or go on where a resumed fit stands."""
        if trainer.is_global_zero:
            total = int(trainer.num_training_batches) * (trainer.max_epochs or 1)
            self._task = self._bar.add_task(self._name, total=total, completed=trainer.global_step)
            self._bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Advance by one batch."""
        self._bar.update(self._task, completed=trainer.global_step) if trainer.is_global_zero else None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the epoch's validation loss."""
        if trainer.is_global_zero:
            loss = float(trainer.callback_metrics["val_loss"])
            epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            self._bar.update(self._task, description=f"{self._name} · {epoch} · validation loss {loss:.3f}")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the line on the screen, however the fit ended."""
        self._bar.stop()


def _quiet() -> None:
    """Silence what Lightning says about hardware and loaders: it is not the user's to act on."""
    for logger in ("pytorch_lightning", "lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch.optim.lr_scheduler")
