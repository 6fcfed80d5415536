"""A frozen model run once over images: to features or to logits, on whatever hardware there is."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.loaders import ViewDataset, whole_image_loader
from data.manifest import Manifest
from data.views import ViewSpec
from models.classifier import Classifier
from run.config import TrainerConfig
from run.console import log, progress
from run.errors import UserError
from run.ranks import local_rank

Output = Literal["features", "logits"]
Forward = Callable[[Tensor], NDArray[np.float32]]
"""uint8 images [B, 3, S, S] to float32 [B, D] (features) or [B, C] (logits)."""

BATCH_SIZE = 64
"""Images in one forward pass."""


def forward_of(classifier: Classifier, output: Output, trainer: TrainerConfig, precision: str) -> Forward:
    """The model in eval mode on its device, in inference mode and, for ``bf16-mixed``, under autocast."""
    device = device_of(trainer)
    model: Any = classifier.model.to(device).eval()
    call = classifier.features if output == "features" else model
    lower = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)

    @torch.inference_mode()
    def forward(images: Tensor) -> NDArray[np.float32]:
        with torch.autocast(device.type, lower, enabled=lower is not None):
            values: Tensor = call(classifier.normalise(images.to(device, non_blocking=True)))
        return values.float().cpu().numpy()

    return in_smaller_batches_if_need_be(forward)


def in_smaller_batches_if_need_be(forward: Forward) -> Forward:
    """``forward``, halving its batches for good each time the GPU's memory does not hold one.

    Another batch size may change the last digits of what comes out, so the log says that it was done.

    Raises:
        UserError: there is no room for a single image.
    """
    most = BATCH_SIZE

    def patient(images: Tensor) -> NDArray[np.float32]:
        nonlocal most
        while True:
            try:
                parts = [forward(part) for part in torch.split(images, most)]
                return parts[0] if len(parts) == 1 else np.concatenate(parts)
            except torch.OutOfMemoryError as error:
                if most == 1:
                    raise UserError(f"the GPU's memory does not hold the model and one image: {error}") from error
                most = max(1, min(most, len(images)) // 2)
            torch.cuda.empty_cache()  # out of the except block, where the error still held what the pass had made
            log.print(f"the GPU's memory is full: going on with {most} images in a batch")

    return patient


def whole_image_logits(
    classifier: Classifier, manifest: Manifest, views: ViewSpec, trainer: TrainerConfig, precision: str, title: str
) -> NDArray[np.float32]:
    """Logits [rows, C] of every row's whole image."""
    forward = forward_of(classifier, "logits", trainer, precision)
    dataset = ViewDataset(manifest, classifier.spec.render, views)
    loader = whole_image_loader(dataset, len(manifest), batch_size=BATCH_SIZE, workers=trainer.workers)
    return np.concatenate(list(_batches(forward, loader, title, len(manifest))))


def _batches(forward: Forward, loader: Any, title: str, total: int) -> Iterator[NDArray[np.float32]]:
    with progress(title, total) as advance:
        for batch in loader:
            yield forward(batch["image"])
            advance(len(batch["image"]))


def device_of(trainer: TrainerConfig) -> torch.device:
    """The device that Lightning would take for this config and this process."""
    if trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        devices = trainer.devices if isinstance(trainer.devices, list) else range(torch.cuda.device_count())
        return torch.device("cuda", devices[local_rank() % len(devices)])
    if trainer.accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
