"""Noise in a student's batches that the product does not have, for ``benchmarks.quality``.

The teacher has answered to the views as they were. ``mixup`` and ``cutmix`` blend its probabilities as they blend the
images, as if its answer to a blend were the blend of its answers.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from distill.mixup import blended
from fitting.module import Batch

Noise: TypeAlias = Callable[[Batch, np.random.Generator], Batch]
"""Changes a batch of ``StudentModule``; one label applies to an image."""

ALPHA = 0.5
"""Of mixup's Beta(α, α)."""
GRAY = 127


def of_each(transform: nn.Module, batch: Batch, _: np.random.Generator) -> Batch:
    """Transform each image by itself, by torch's random numbers and not the generator's."""
    return {**batch, "image": torch.stack([transform(image) for image in batch["image"]])}


def mixup(batch: Batch, generator: np.random.Generator) -> Batch:
    """Blend images in pairs (arXiv 1710.09412)."""
    partners = partners_in(batch, generator)
    return with_answers(batch, float(generator.beta(ALPHA, ALPHA)), partners)


def cutmix(batch: Batch, generator: np.random.Generator) -> Batch:
    """Put a square of one image into another (arXiv 1905.04899)."""
    images = batch["image"]
    size = images.shape[-1]
    partners = partners_in(batch, generator)
    side = round(size * float(generator.random()) ** 0.5)
    top, left = (int(place) for place in generator.integers(0, size - side + 1, 2))
    square = (..., slice(top, top + side), slice(left, left + side))
    image = images.clone()
    image[square] = images[partners][square]
    without = {key: value for key, value in batch.items() if key != "image"}
    return {**with_answers(without, 1 - (side / size) ** 2, partners), "image": image}


def partners_in(batch: Batch, generator: np.random.Generator) -> Tensor:
    """Another image for each of a batch [B]."""
    return torch.from_numpy(generator.permutation(len(batch["image"])))


def with_answers(batch: Batch, share: float, partners: Tensor) -> Batch:
    """The batch with images, where it has them, labels and the teacher's probabilities blended."""
    p = batch["teacher"].softmax(1)
    both = torch.lerp(p[partners], p, share).clamp_min(torch.finfo(p.dtype).tiny)
    return {**batch, **blended(batch, share, partners), "teacher": both.log()}


NOISES: Mapping[str, Noise] = {
    "color": partial(of_each, v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4)),
    "shifts": partial(of_each, v2.RandomAffine(0, translate=(1 / 16, 1 / 16), fill=GRAY)),
    "randaugment": partial(of_each, v2.RandAugment(fill=GRAY)),
    "mixup": mixup,
    "cutmix": cutmix,
}
