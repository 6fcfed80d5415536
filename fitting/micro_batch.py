"""Images that go through a model at a time while it is trained: as many as the device's memory holds."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from run.console import log
from run.errors import UserError
from run.files import read_json, write_json

NAME = "micro_batch.json"
BATCH_NORM = (
    "it has batch norms, which normalize over the images that go through together. trainer.micro_batch: N splits its "
    "batches all the same, and each part is then normalized by itself"
)


@dataclass(frozen=True)
class Split:
    """The way that batches go through the model from a step on."""

    step: int
    """Optimizer steps before it."""
    images: int
    """At a time."""
    checkpointing: bool = False
    """Activations are computed again in the backward pass instead of being kept."""


class MicroBatches:
    """The splits of a fit: the first one, and a smaller one from each step on whose memory was too small.

    They are kept in a file, and a resumed fit goes by it: it takes each step as the first time, to the bit.

    Args:
        folder: of the fit; a record in it counts if it begins with the same split.
        first: the split that is tried first.
        whole: reason why batches are not split further, as the end of a sentence; empty where they may be.
        may_checkpoint: checkpointing is turned on where not even one image fits without.
    """

    def __init__(self, folder: Path, first: Split, *, whole: str = "", may_checkpoint: bool = False) -> None:
        self._path = folder / NAME
        kept = [Split(**one) for one in read_json(self._path) or []]
        self._splits = kept if kept[:1] == [first] else [first]
        self._whole = whole
        self._may_checkpoint = may_checkpoint

    @property
    def may_shrink(self) -> bool:
        """Batches may be split further."""
        return not self._whole

    def at(self, step: int) -> Split:
        """The split of a step."""
        return next(split for split in reversed(self._splits) if split.step <= step)

    def shrink(self, step: int, images: int) -> None:
        """Let fewer images through from the step on whose memory was too small for so many at a time.

        Raises:
            UserError: there is nothing smaller.
        """
        now = self.at(step)
        if self._whole:
            raise UserError(
                f"memory is too small for {images} images at a time, and this fit does not split its batches further: "
                f"{self._whole}. Lower batch_size"
            )
        if images > 1:
            smaller = replace(now, step=step, images=images // 2)
        elif self._may_checkpoint and not now.checkpointing:
            smaller = replace(self._splits[0], step=step, checkpointing=True)
        else:
            raise UserError(
                "memory is too small to train this model on a single image: choose a smaller model or image_size, "
                "a teacher.mode that trains less (lora, last_blocks, head), or a larger device"
            )
        # The first one stays, also where it never worked: a resumed fit tells by it that the record is its own.
        self._splits = [self._splits[0], *(split for split in self._splits[1:] if split.step < step), smaller]
        write_json(self._path, [asdict(split) for split in self._splits])
        again = ", their activations computed again" if smaller.checkpointing else ""
        log.print(f"memory is full: going on with {smaller.images} images at a time{again}; a step's batch is the same")


def why_whole(model: nn.Module) -> str:
    """Reason why a split would change what a model learns, as the end of a sentence; empty where it would not."""
    return BATCH_NORM if any(isinstance(module, _BatchNorm) for module in model.modules()) else ""


def parts_of(batch: dict[str, Any], size: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """A batch in parts of up to ``size`` images, each with the number of images before it."""
    for start in range(0, len(batch["image_id"]), size):
        yield start, {name: value[start : start + size] for name, value in batch.items()}


def whole_of(parts: Sequence[dict[str, Tensor]], sizes: Sequence[int]) -> dict[str, Tensor]:
    """The values of a batch from those of its parts: means over images, or a value per image that counts [M]."""
    if len(parts) == 1:
        return parts[0]
    shares = [size / sum(sizes) for size in sizes]
    return {
        name: torch.cat([part[name] for part in parts])
        if parts[0][name].ndim
        else torch.stack([share * part[name] for share, part in zip(shares, parts, strict=True)]).sum()
        for name in parts[0]
    }
