"""One fit: Lightning's trainer with the project's checkpoints, resumption, averaging and tracking."""

import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch.utils.data import DataLoader

from fitting.callbacks import Averaging, Curves, Draws, Patience
from fitting.checkpoints import BEST, AtomicCheckpoints, BestEpoch, KeepState, find_state, is_whole, remove_states
from fitting.micro_batch import MicroBatches, Split, why_whole
from fitting.module import FitModule
from fitting.processes import Processes, data_parallel, synchronize_batch_norm
from fitting.progress import FitProgress
from fitting.stochastic_depth import draw_for_batches
from fitting.tracking import finishing, loggers
from run.context import RunContext
from run.errors import UserError
from run.files import read_json, write_json
from run.ranks import once, require_processes, this_rank


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """Everything that one fit is about; where it runs is the run's matter."""

    module: FitModule
    """Trained in place, as its ``config`` says."""
    learned: DataLoader[Any]
    """Training batches in the order of an ``EpochSampler``; where there are several processes, this one's share."""
    held_out: DataLoader[Any]
    """Validation batches, likewise."""
    name: str
    """Shown beside the progress bar and given to the tracker."""
    folder: Path
    """For checkpoints and ``log/version_N/metrics.csv``."""
    precision: str
    """Lightning's name for it."""
    callbacks: Sequence[Callback] = ()
    """More of them."""


def fit(request: FitRequest, context: RunContext) -> dict[str, float]:
    """Fit a module and leave it with the weights of its best epoch by validation loss; this may take hours.

    The state is kept after every epoch, and every ``trainer.checkpoint_minutes`` within one; called again with the same
    folder, the fit goes on from the last one and ends with the very weights that it would have ended with. Where there
    are several processes, all have to call this.

    Returns:
        The metrics of the best epoch, with ``epoch``; of the whole fit ``epochs`` and ``steps``, how many were run; and
        ``last_val_loss`` and ``previous_val_loss``, of its last two epochs.

    Raises:
        UserError: the loss stopped being finite, or there is not one process for each device.
        EndedElsewhereError: another process raised the UserError.
        KeyboardInterrupt: the user interrupted; what was kept is there for the next call.
    """
    require_processes(context.trainer)
    folder = request.folder
    module = request.module
    metrics = once(lambda: _read_finished(folder))
    if metrics is None:
        folder.mkdir(parents=True, exist_ok=True)
        state = once(lambda: find_state(folder))
        _split_batches(request, context.trainer.micro_batch)
        best = BestEpoch(folder)
        loop = _trainer(request, context, best)
        module.train()  # Lightning keeps the mode it is given
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            with finishing(context.tracking):
                loop.fit(module, request.learned, request.held_out, ckpt_path=state, weights_only=True)
        except SystemExit:
            # Lightning leaves its own handler behind when it is interrupted.
            signal.signal(signal.SIGINT, on_interrupt)
            if loop.interrupted:  # Lightning turns Ctrl-C into exit(1)
                raise KeyboardInterrupt from None
            raise
        if "epoch" not in best.metrics:
            raise UserError(f"{request.name}: the validation loss was no number in any epoch; lower lr")
        metrics = {**best.metrics, "epochs": float(loop.current_epoch), "steps": float(loop.global_step)}
        once(lambda: write_json(folder / "done.json", metrics))
    # From the file, also right after the fit: what is returned is the best epoch, not the last one.
    module.load_state_dict(torch.load(folder / BEST, map_location="cpu", weights_only=True)["state_dict"])
    module.eval()
    # Only now: until done.json was written, they were all that a resumed fit had.
    once(lambda: remove_states(folder))
    return metrics


def remove_checkpoints(work: Path) -> None:
    """Delete the checkpoints below a stage's work folder, once the stage is stamped and they serve nobody."""
    for path in work.rglob("*.ckpt"):
        path.unlink()


def _read_finished(folder: Path) -> dict[str, float] | None:
    """The metrics of a fit that is done."""
    metrics = read_json(folder / "done.json")
    return metrics if metrics and is_whole(folder / BEST) else None


def _split_batches(request: FitRequest, asked: int | Literal["auto"]) -> None:
    """Begin with what the config asks for, or else with whole batches, which memory may prove too large."""
    module = request.module
    module.micro_batches = MicroBatches(
        request.folder,
        Split(0, module.config.batch_size if asked == "auto" else asked, module.checkpointing is True),
        whole=module.whole or why_whole(module),
        may_checkpoint=module.checkpointing == "auto",
    )
    module.drop_paths = draw_for_batches(module)


def _trainer(request: FitRequest, context: RunContext, best: BestEpoch) -> pl.Trainer:
    _quiet()
    config = request.module.config
    settings = context.trainer
    alone = this_rank().world == 1
    keep = KeepState(request.folder, request.learned, settings.checkpoint_minutes)
    callbacks: list[Callback] = [
        Draws(context.seed),
        best,
        FitProgress(request.name, best),
        *request.callbacks,
        Curves(request.folder),
        keep,
    ]
    if config.patience is not None:
        callbacks.append(Patience(config.patience))
    if config.ema_decay is not None:
        callbacks.append(Averaging(config.ema_decay))
    loop = pl.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy="auto" if alone else data_parallel(settings),
        precision=request.precision,  # type: ignore[arg-type]
        max_epochs=config.epochs,
        callbacks=callbacks,
        logger=loggers(request.name, request.folder, context),
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[Processes(), AtomicCheckpoints()],
        use_distributed_sampler=False,  # the loaders share out the images
    )
    if loop.strategy.root_device.type == "cuda" and not alone:
        synchronize_batch_norm(request.module)
    return loop


def _quiet() -> None:
    """Silence what Lightning says about hardware and loaders: it is not the user's to act on."""
    for logger in ("pytorch_lightning", "lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    if not sys.warnoptions:
        modules = "pytorch_lightning|lightning_fabric|torchmetrics|torch.optim.lr_scheduler"
        warnings.filterwarnings("ignore", module=modules)
