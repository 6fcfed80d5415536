"""A frozen model run once over images: to features or to logits, on whatever hardware there is."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.examples import Examples
from data.loaders import ViewDataset, whole_image_loader
from models.batch_size import largest_that_fits, largest_that_reuses_memory
from models.classifier import Classifier
from models.device import device_of
from run.config import TrainerConfig
from run.console import log, progress
from run.errors import UserError

Output = Literal["features", "logits"]
Forward = Callable[[Tensor], NDArray[np.float32]]
"""uint8 images [B, 3, S, S] to float32 [B, D] (features) or [B, C] (logits)."""

Run = Callable[[Tensor], Tensor]
"""As ``Forward``, from and to tensors on the model's device."""

Started = Callable[[], NDArray[np.float32]]
"""Waits for the numbers of a batch that is on its way."""


@dataclass(eq=False, repr=False)
class FrozenForward:
    """A ``Forward`` that can be started and waited for later, so that a GPU is never without work."""

    run: Run
    device: torch.device
    """What it lies on."""
    choose_batch_size: Callable[[], int]
    """Asked once, when it is first needed."""
    one_shape: bool = field(default=False, kw_only=True)
    """Fill batches that are started up to ``batch_size``: compiled code is for one shape."""
    holds: int | None = field(default=None, init=False)
    """Images that the GPU's memory holds, once it was too small."""

    @cached_property
    def batch_size(self) -> int:
        """Images at a time that suit the model and its device."""
        return self.choose_batch_size()

    def __call__(self, images: Tensor) -> NDArray[np.float32]:
        """Numbers of any number of images, in parts of ``batch_size``."""
        parts = [self._launch(part.to(self.device)) for part in torch.split(images, self.batch_size)]
        return np.concatenate([part() for part in parts])

    def start(self, images: Tensor) -> Started:
        """Put one batch on its way, as large as it is; images in pinned memory are copied while the GPU works."""
        there = images.to(self.device, non_blocking=True)
        if self.one_shape:
            missing = max(0, self.batch_size - len(images))
            there = torch.cat([there, there.new_zeros(missing, *there.shape[1:])])
        started = self._launch(there)
        return lambda: started()[: len(images)]

    def _launch(self, images: Tensor) -> Started:
        """Run the model; where memory is too small, in halves from then on.

        Raises:
            UserError: there is no room for a single image.
        """
        while True:
            try:
                parts = [self.run(part) for part in torch.split(images, self.holds or len(images))]
                return _fetched(parts[0] if len(parts) == 1 else torch.cat(parts))
            except torch.OutOfMemoryError as error:
                most = min(self.holds or len(images), len(images))
                if most == 1:
                    raise UserError(f"the GPU's memory does not hold the model and one image: {error}") from error
                self.holds = most // 2
            torch.cuda.empty_cache()  # out of the except block, where the error still held what the pass had made
            log.print(f"the GPU's memory is full: going on with {self.holds} images in a batch")


def _fetched(values: Tensor) -> Started:
    """The values on their way to the main memory."""
    if values.device.type != "cuda":
        there = values.cpu().numpy()
        return lambda: there
    copy = values.to("cpu", non_blocking=True)
    done = torch.cuda.current_stream(values.device).record_event()

    def wait() -> NDArray[np.float32]:
        done.synchronize()
        return np.asarray(copy.numpy())

    return wait


def forward_of(classifier: Classifier, output: Output, trainer: TrainerConfig, precision: str) -> FrozenForward:
    """The model in eval mode on its device, in inference mode and, for ``bf16-mixed``, under autocast.

    ``trainer.frozen_batch_size`` and ``trainer.compile_frozen`` say how it is run.
    """
    device = device_of(trainer)
    model: Any = classifier.model.to(device).eval()
    call = classifier.features if output == "features" else model

    def numbers(images: Tensor) -> Tensor:
        values: Tensor = call(classifier.normalize(images))
        return values.float()

    run = _frozen(numbers, device, precision)

    def batch_size() -> int:
        if trainer.frozen_batch_size != "auto":
            return trainer.frozen_batch_size
        choose = largest_that_reuses_memory if device.type == "cpu" else largest_that_fits
        return choose(run, classifier.spec.size, device)

    if not trainer.compile_frozen:
        return FrozenForward(run, device, batch_size)
    compiled = _compiled_or_refused(_frozen(torch.compile(numbers, dynamic=False), device, precision))
    return FrozenForward(compiled, device, batch_size, one_shape=True)


def _frozen(numbers: Run, device: torch.device, precision: str) -> Run:
    lower = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:
        with torch.autocast(device.type, lower, enabled=lower is not None):
            return numbers(images)

    return run


def _compiled_or_refused(run: Run) -> Run:
    """Say what to do where torch finds no compiler."""
    from torch._dynamo.exc import TorchDynamoException

    def checked(images: Tensor) -> Tensor:
        try:
            return run(images)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"trainer.compile_frozen is true, but torch cannot compile the model here: {reason}\nSet it to false."
            ) from error

    return checked


def in_order(forward: Forward, batches: Iterable[Tensor]) -> Iterator[NDArray[np.float32]]:
    """Outputs of ``forward``, batch by batch; while a GPU works on one, the next one is read and handed to it."""
    start = forward.start if isinstance(forward, FrozenForward) else partial(partial, forward)
    ahead: Started | None = None
    for batch in batches:
        before = ahead
        ahead = start(batch)  # before its predecessor is waited for
        if before is not None:
            yield before()
    if ahead is not None:
        yield ahead()


def whole_image_logits(
    classifier: Classifier, examples: Examples, trainer: TrainerConfig, precision: str, title: str
) -> NDArray[np.float32]:
    """Logits [rows, C] of every row's whole image."""
    forward = forward_of(classifier, "logits", trainer, precision)
    dataset = ViewDataset(examples, classifier.spec.render)
    loader = whole_image_loader(dataset, len(examples), batch_size=forward.batch_size, workers=trainer.workers)
    logits = []
    with progress(title, len(examples)) as advance:
        for values in in_order(forward, (batch["image"] for batch in loader)):
            logits.append(values)
            advance(len(values))
    return np.concatenate(logits)
