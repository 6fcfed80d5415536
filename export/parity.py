"""Parity: the same weights in two runtimes, PyTorch and ONNX Runtime, on real images; ``parity.json`` keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.fp16 import Fp16Facts
from export.records import read_record, record_of
from export.release import FP16, FP32, RGB
from export.runtime import OnnxClassifier, RgbClassifier
from models.decision import DecisionRule
from run.errors import UserError
from run.files import Json, file_digest, write_json

if TYPE_CHECKING:  # importing torch takes seconds, and reading parity.json does without it
    from models.classifier import Classifier

PARITY_RECORD = "parity.json"

BATCHES = (1, 3, 16)
"""Batch sizes that are tried: a file with a baked-in batch fails on one of them."""

ROUNDS = 2
"""Batches of each size."""

IMAGES = BATCHES[-1] * ROUNDS
"""Images of which none is taken twice."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """An exported file against PyTorch."""

    n: int
    """Images compared."""
    batches: tuple[int, ...]
    largest: float
    """Difference of a probability."""
    largest_logit: float
    target: float
    sha256: str
    """Of the file that was run."""


@dataclass(frozen=True, kw_only=True)
class RgbParity:
    """An ``rgb.onnx`` against its float32 body and Python's preprocessing."""

    n: int
    largest: float
    """Difference of a probability."""
    target: float


@dataclass(frozen=True)
class NotWritten:
    """No file, and the reason."""

    why_not: str


@dataclass(frozen=True)
class ParityRecord:
    """Export's own checks of one model's files."""

    reference: Parity
    fp16: Fp16Facts | NotWritten | None
    """Null where fp16 was not asked for."""
    rgb: RgbParity

    def write(self, folder: Path) -> None:
        """Write ``parity.json`` into an ONNX folder."""
        fp16: dict[str, Json] = {} if self.fp16 is None else {FP16.path.as_posix(): asdict(self.fp16)}
        reference = {FP32.path.as_posix(): asdict(self.reference)}
        write_json(folder / PARITY_RECORD, {**reference, **fp16, RGB.path.as_posix(): asdict(self.rgb)})

    @classmethod
    def read(cls, folder: Path) -> "ParityRecord":
        """The record in an ONNX folder.

        Raises:
            UserError: it is missing or damaged.
        """
        return read_record(folder / PARITY_RECORD, cls._of_json)

    @classmethod
    def _of_json(cls, stored: Mapping[str, Any]) -> "ParityRecord":
        fp16 = stored.get(FP16.path.as_posix())
        return cls(
            reference=record_of(Parity, stored[FP32.path.as_posix()]),
            fp16=None if fp16 is None else _fp16_of(fp16),
            rgb=record_of(RgbParity, stored[RGB.path.as_posix()]),
        )


def _fp16_of(stored: Mapping[str, Any]) -> Fp16Facts | NotWritten:
    return record_of(NotWritten, stored) if "why_not" in stored else record_of(Fp16Facts, stored)


def check_parity(classifier: "Classifier", path: Path, images: Sequence[Image.Image], tolerance: float) -> Parity:
    """Compare probabilities of an exported file with the model it was made from, both in float32.

    Args:
        classifier: the PyTorch model.
        path: its ONNX file.
        images: decoded, real ones; taken in turn, again from the start where there are few.
        tolerance: largest difference of a probability.

    Raises:
        UserError: a difference is above the tolerance, or not a number.
    """
    assert images, "parity needs images"
    exported = OnnxClassifier(path)
    probabilities = DecisionRule.of(classifier.labels).probabilities
    differences: list[tuple[float, float]] = []
    seen = 0
    for size in BATCHES:
        for turn in range(ROUNDS):
            batch = [images[(turn * size + i) % len(images)] for i in range(size)]
            # Each side prepares the images by its own contract: a file that carries another one is found out.
            ours = _torch_logits(classifier, batch)
            theirs = exported.logits(exported.prepare(batch))
            differences.append((_largest(probabilities(ours) - probabilities(theirs)), _largest(ours - theirs)))
            seen += size
    # np.max, because Python's max passes over NaN.
    largest, largest_logit = map(float, np.max(differences, axis=0))
    if not largest <= tolerance:
        raise UserError(
            f"{path.name} differs from PyTorch by {largest:.2g} in a probability, more than export.parity "
            f"({tolerance:g}); it was not written. Another export.opset may help."
        )
    return Parity(
        n=seen,
        batches=BATCHES,
        largest=largest,
        largest_logit=largest_logit,
        target=tolerance,
        sha256=file_digest(path),
    )


def check_rgb(body: Path, path: Path, images: Sequence[Image.Image], tolerance: float) -> RgbParity:
    """Compare an ``rgb.onnx`` with its float32 body fed by Python's preprocessing.

    Raises:
        UserError: a probability differs by more than the tolerance, or is not a number.
    """
    model = OnnxClassifier(body)
    whole = RgbClassifier(path)
    # np.max, because Python's max passes over NaN.
    largest = float(np.max([_largest(model.probabilities([i]) - whole.probabilities([i])) for i in images]))
    if not largest <= tolerance:
        raise UserError(
            f"{path.name} differs from Python's preprocessing by {largest:.2g}, above export.parity {tolerance:g}"
        )
    return RgbParity(n=len(images), largest=largest, target=tolerance)


def _torch_logits(classifier: "Classifier", batch: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Logits [B, C], a few images at a time: PyTorch's do not depend on the batch, its memory does."""
    import torch

    pixels = classifier.spec.normalize(np.stack([classifier.spec.render(image) for image in batch]))
    model = classifier.model.cpu().eval()
    with torch.inference_mode():
        return torch.cat([model(part) for part in torch.split(torch.from_numpy(pixels), 4)]).float().numpy()


def _largest(difference: NDArray[np.float32]) -> float:
    """The largest absolute value; NaN if there is one."""
    return float(np.abs(difference).max())
