"""A fit small enough to be run many times; ``python -m tests.run.toy FOLDER`` runs it in a process of its own."""

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from data.loaders import EpochSampler, FixedItems
from run.config import FitConfig, TrackingConfig
from run.context import RunContext
from run.fit import Batch, FitModule, fit
from run.folder import RunFolder
from tests.support import context

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
    """A linear layer, BatchNorm (whose counter is an integer buffer) and another."""

    def __init__(self, config: FitConfig) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
        super().__init__(config, [{"params": list(net.parameters())}])
        self.net = net
        self.epochs_seen: list[int] = []

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        if self.training:
            self.epochs_seen.append(self.current_epoch)
        outputs: Tensor = self.net(batch["x"])[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(outputs, batch["y"])
        return {"loss": loss, "margin": outputs.abs().mean()}


def loaders(seconds: float = 0.0) -> tuple[Iterable[Batch], Iterable[Batch]]:
    """Three training batches and three validation batches of eight."""
    train = DataLoader(ToyData(seconds), batch_size=8, sampler=EpochSampler(ROWS, 4, seed=0))
    val = DataLoader(ToyData(), batch_size=8, sampler=FixedItems([(row, 0) for row in range(ROWS)]))
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
    callbacks: Any = (),
) -> tuple[ToyModule, dict[str, float]]:
    """Fit the toy below ``folder / fit``."""
    config = config or toy_config()
    module = module or ToyModule(config)
    run: RunContext = context(
        RunFolder(folder), tracking=tracking or TrackingConfig(), config=run_config if run_config is not None else {}
    )
    metrics = fit(
        module,
        loaders(seconds),
        name=name,
        folder=folder / "fit",
        config=config,
        precision="32-true",
        context=run,
        callbacks=callbacks,
    )
    return module, metrics


if __name__ == "__main__":
    try:
        run_toy(Path(sys.argv[1]), seconds=0.03)
    except KeyboardInterrupt:
        sys.exit(130)
