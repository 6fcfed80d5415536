"""Blended training examples (Zhang et al. 2018, arXiv 1710.09412), for a teacher that answers to the blend itself."""

import numpy as np
import torch
from torch import Tensor

from fitting.module import Batch


def draw(alpha: float, size: int, key: tuple[int, ...]) -> tuple[float, Tensor]:
    """A share from Beta(alpha, alpha) and a partner for each of ``size`` examples, the same for the same key.

    Args:
        alpha: above 0; the smaller, the nearer is the share to 0 or 1.
        key: whole numbers from 0 that name the batch.

    Returns:
        The share that an example keeps of itself, in [0, 1], and the indices of the partners [size].
    """
    # A generator of its own: the fit's other random numbers stay as they are without blending.
    generator = np.random.default_rng(key)
    return float(generator.beta(alpha, alpha)), torch.from_numpy(generator.permutation(size))


def blended(batch: Batch, share: float, partners: Tensor) -> dict[str, Tensor]:
    """The tensors of a batch that change when each example keeps ``share`` of itself, the rest from its partner.

    Every render is blended alike (float32 [B, 3, S, S], still 0 to 255). The labels' loss of a blend is the blend of
    their losses, where an example without a label has none: ``labeled`` [B] becomes the share of the blend that has
    labels, and ``target`` [B, C] the mean of these labels.

    Args:
        batch: ``image``, ``target``, ``labeled`` and whatever else; ``teacher_image`` is blended where it is there.
        share: in [0, 1].
        partners: indices into the batch [B], on its device.
    """
    renders: dict[str, Tensor] = {
        key: torch.lerp(batch[key][partners].float(), batch[key].float(), share)
        for key in ("image", "teacher_image")
        if key in batch
    }
    own = share * batch["labeled"]
    others = (1 - share) * batch["labeled"][partners]
    labeled = own + others
    total = own[:, None] * batch["target"] + others[:, None] * batch["target"][partners]
    target = total / labeled.clamp_min(torch.finfo(labeled.dtype).tiny)[:, None]
    return {**renders, "target": target, "labeled": labeled}
