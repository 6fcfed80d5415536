"""Noise on the student's side of a view: rectangles are erased (Zhong et al. 2020, arXiv 1708.04896).

The teacher has answered to the whole view, which may be in the cache: this costs no pass of it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from run.ranks import this_rank

AREAS = (0.02, 0.25)
"""Smallest and largest share of an image that a rectangle covers."""
LARGEST_RATIO = 2.5
"""Of a rectangle's sides."""


def draw_rectangles(share: float, count: int, size: int, key: tuple[int, ...]) -> NDArray[np.intp]:
    """Rectangles [count, 4] as left, top, right and bottom in pixels, the same for the same key.

    Args:
        share: of the rectangles, those that are drawn; the others are empty.
        size: pixels a side of the images that they lie in.
        key: whole numbers from 0 that name the batch.
    """
    generator = np.random.default_rng(key)
    area = generator.uniform(*AREAS, count) * (generator.random(count) < share)
    ratio = np.exp(generator.uniform(-1, 1, count) * np.log(LARGEST_RATIO))
    sides = np.minimum(np.rint(size * np.sqrt(np.stack([area * ratio, area / ratio], 1))), size)
    corners = np.floor(generator.random((count, 2)) * (size - sides + 1))
    return np.concatenate([corners, corners + sides], 1).astype(np.intp)


def erased(images: Tensor, rectangles: NDArray[np.intp]) -> Tensor:
    """Images [B, 3, S, S] of 0 to 255, each with its rectangle [B, 4] in the image's own mean color."""
    left, top, right, bottom = torch.from_numpy(rectangles).to(images.device).T[:, :, None]
    along = torch.arange(images.shape[-1], device=images.device)
    columns = (left <= along) & (along < right)
    rows = (top <= along) & (along < bottom)
    inside = rows[:, None, :, None] & columns[:, None, None, :]
    mean = images.float().mean((2, 3), keepdim=True)
    return torch.where(inside, mean if images.is_floating_point() else mean.round().to(images.dtype), images)


@dataclass(eq=False)
class Erasing(Callback):
    """Erases a rectangle of some of the student's images, whoever answers for them.

    Rectangles depend on the seed, the epoch, the batch's number and the process alone, so a resumed fit draws the same
    ones.
    """

    share: float
    """``students[].erasing``."""
    seed: int

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Change the batch itself, which is on the device already."""
        images = batch["image"]
        key = self.seed, trainer.current_epoch, batch_idx, this_rank().number
        batch["image"] = erased(images, draw_rectangles(self.share, len(images), images.shape[-1], key))
