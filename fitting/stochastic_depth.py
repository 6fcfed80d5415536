"""Stochastic depth that drops the same images' paths however a batch is split."""

import torch
from timm.layers import DropPath
from torch import Tensor, nn

GOLDEN = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: keeps the seeds of neighboring layers apart."""


class DropPathOfBatch(DropPath):  # type: ignore[misc]
    """Timm's ``DropPath``, drawn for a whole batch by the step's seed and the layer alone.

    Timm draws for the images that come, so a batch in two parts would drop other paths than in one, and so would a part
    that activation checkpointing computes again.
    """

    def __init__(self, twin: DropPath, number: int) -> None:
        super().__init__(twin.drop_prob, twin.scale_by_keep)
        self._number = number
        self.part: tuple[int, int] | None = None
        """Images of the batch before those that come, and in the whole batch."""

    def forward(self, images: Tensor) -> Tensor:
        if not self.training or not self.drop_prob or self.part is None:
            dropped: Tensor = super().forward(images)
            return dropped
        start, total = self.part
        seed = (torch.initial_seed() + GOLDEN * self._number) % 2**63
        generator = torch.Generator(images.device).manual_seed(seed)
        keep = 1 - self.drop_prob
        kept = torch.empty(total, device=images.device).bernoulli_(keep, generator=generator)
        scale = kept[start : start + len(images)] / (keep if self.scale_by_keep else 1.0)
        return images * scale.to(images.dtype).view(-1, *[1] * (images.ndim - 1))


def draw_for_batches(model: nn.Module) -> list[DropPathOfBatch]:
    """Put ``DropPathOfBatch`` in place of timm's layers; gives those that are there."""
    found: list[DropPathOfBatch] = []
    for name, module in list(model.named_modules()):
        if isinstance(module, DropPath):
            found.append(module if isinstance(module, DropPathOfBatch) else DropPathOfBatch(module, len(found)))
            model.set_submodule(name, found[-1])
    return found
