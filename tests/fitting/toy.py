"""A fit small enough to be run many times; ``main`` runs it as one process of several.

Started several times, with ranks in the environment, the processes run it together.
"""

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from data.loaders import EpochSampler, whole_images
from fitting.config import FitConfig
from fitting.fit import FitRequest, fit
from fitting.module import Batch, FitModule
from run.config import TrackingConfig, TrainerConfig
from run.context import RunContext
from run.errors import UserError
from run.folder import RunFolder
from run.ranks import EndedElsewhereError, connect, disconnect, this_rank
from tests.support import TRAINER, context

ROWS = 24


class ToyData(Dataset[dict[str, Any]]):
    """Points with a label; a view shifts its point."""

    def __init__(self, seconds: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(0)
        self.points = torch.randn(ROWS, 4, generator=generator)
        self.seconds = seconds

    def __getitem__(self, item: tuple[int, int]) -> dict[str, Any]:
        row, view = item
        time.sleep(self.seconds)
        point = self.points[row] + 0.1 * view
        return {"x": point, "y": (self.points[row, 0] > 0).float(), "image_id": f"secret-image-{row:02d}"}


class ToyModule(FitModule):
    """A linear layer, BatchNorm (whose counter is an integer buffer), dropout and another linear layer."""

    def __init__(self, config: FitConfig) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 1))
        super().__init__(config, [{"params": list(net.parameters())}])
        self.net = net
        self.epochs_seen: list[int] = []

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        if self.training:
            self.epochs_seen.append(self.current_epoch)
        outputs: Tensor = self.net(batch["x"])[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(outputs, batch["y"])
        return {"loss": loss, "margin": outputs.abs().mean()}


class SmallMemory(ToyModule):
    """Layer norm and stochastic depth, so that batches may be split; memory holds ``holds`` points from a step on."""

    def __init__(self, config: FitConfig, holds: Mapping[int, int] | None = None) -> None:
        super().__init__(config)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), DropPath(0.4), nn.Linear(8, 1))
        self._groups = [{"params": list(self.net.parameters())}]
        self.holds = holds or {}
        self.sizes: list[int] = []

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        holds = [size for step, size in self.holds.items() if step <= self.global_step]
        if self.training:
            if len(batch["x"]) > (holds or [ROWS])[-1]:
                raise torch.OutOfMemoryError("CUDA out of memory")
            self.sizes.append(len(batch["x"]))
        return super().losses(batch)


class SmallSecond(SmallMemory):
    """The second process's memory holds three points."""

    def __init__(self, config: FitConfig) -> None:
        super().__init__(config, {0: 3} if this_rank().number else {})


def loaders(seconds: float = 0.0, workers: int = 0) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Batches of up to eight of this process's share of 24 training and 17 validation points.

    Two processes validate on two batches and on one.
    """
    train = DataLoader(ToyData(seconds), batch_size=8, sampler=EpochSampler(ROWS, 4, seed=0), num_workers=workers)
    val = DataLoader(ToyData(), batch_size=8, sampler=whole_images(ROWS - 7, this_rank()))
    return train, val


def toy_config(**changes: Any) -> FitConfig:
    settings: dict[str, Any] = {"epochs": 4, "batch_size": 8, "lr": 0.05, **changes}
    return FitConfig(**settings)


def run_toy(
    folder: Path,
    config: FitConfig | None = None,
    *,
    module: ToyModule | None = None,
    tracking: TrackingConfig | None = None,
    run_config: dict[str, Any] | None = None,
    name: str = "toy",
    seconds: float = 0.0,
    workers: int = 0,
    minutes: float | None = None,
    micro_batch: Any = "auto",
    precision: Any = "32-true",
    callbacks: Any = (),
) -> tuple[ToyModule, dict[str, float]]:
    """Fit the toy below ``folder / fit``."""
    module = module or ToyModule(config or toy_config())
    run: RunContext = context(
        RunFolder(folder),
        trainer=replace(trainer(), checkpoint_minutes=minutes, micro_batch=micro_batch),
        tracking=tracking or TrackingConfig(),
        config=run_config if run_config is not None else {},
    )
    learned, held_out = loaders(seconds, workers)
    request = FitRequest(
        module=module,
        learned=learned,
        held_out=held_out,
        name=name,
        folder=folder / "fit",
        precision=precision,
        callbacks=callbacks,
    )
    return module, fit(request, run)


def trainer() -> TrainerConfig:
    """A device for each process."""
    return replace(TRAINER, devices=this_rank().world)


class BreaksInSecond(ToyModule):
    """In the second process the loss of the third batch is no number."""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        values = super().losses(batch)
        breaks = this_rank().number == 1 and len(self.epochs_seen) == 3
        return {**values, "loss": values["loss"] * math.nan} if breaks else values


class WorsensInSecond(ToyModule):
    """The second process's share of the validation points gives a larger loss each epoch."""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        values = super().losses(batch)
        worse = 10.0 * self.current_epoch if this_rank().number == 1 and not self.training else 0.0
        return {**values, "loss": values["loss"] + worse}


MODULES: dict[str, Any] = {
    "sound": ToyModule,
    "breaks": BreaksInSecond,
    "worsens": WorsensInSecond,
    "roomy": SmallMemory,
    "small": SmallSecond,
}


def main(folder: Path, seconds: float, name: str) -> int:
    """Run the toy as one of however many processes; the exit code is pocketeva's."""
    connect(trainer())
    config = toy_config(ema_decay=0.5, epochs=6, patience=2 if name == "worsens" else None)
    try:
        run_toy(folder, module=MODULES[name](config), seconds=seconds, minutes=0)
    except KeyboardInterrupt:
        return 130
    except UserError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    except EndedElsewhereError:
        return 2
    disconnect()
    return 0
