"""Parity: the same weights in two runtimes, PyTorch and ONNX Runtime; and the same file with another resize."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL
import timm
import torch
from numpy.typing import NDArray
from PIL import Image

from export.divergence import LogitDistance
from export.golden.kit import GoldenEntry, GoldenIndex, read_pixels
from export.parity_record import LOGITS, OtherResize, Parity, RgbParity
from export.release import FP32
from export.runtime import OnnxClassifier, RgbClassifier
from export.session import side_by_side
from models.classifier import Classifier
from models.decision import DecisionRule
from run.errors import UserError
from run.files import file_digest

BATCHES = (1, 3, 16)
"""Batch sizes that are tried: a file with a baked-in batch fails on one of them."""

ROUNDS = 2
"""Most batches of each size."""

IMAGES = BATCHES[-1] * ROUNDS
"""Images of which none is taken twice."""


def check_parity(
    classifier: Classifier, path: Path, images: Sequence[Image.Image], tolerance: float, weights: str = ""
) -> Parity:
    """Compare an exported file with the model it was made from, both in float32.

    Args:
        images: decoded, real ones; taken in turn, again from the start where there are few.
        tolerance: largest difference of a probability; of a logit, ``LOGITS`` times as much of the logits' spread.
        weights: digest of the model's weights, for the record.

    Raises:
        UserError: a difference is above the tolerance, or not a number.
    """
    assert images, "parity needs images"
    exported = OnnxClassifier(path)
    rule = DecisionRule.of(classifier.labels)
    images = images[:IMAGES]
    # Few images are seen once in each size, and fill no larger one: again, they would show nothing more.
    sizes = sorted({min(size, len(images)) for size in BATCHES} | set(BATCHES[:2]))
    starts = [(start, size) for size in sizes for start in range(0, min(ROUNDS * size, len(images)), size)]
    batches = [[i % len(images) for i in range(start, start + size)] for start, size in starts]
    # Each side prepares the images by its own contract: a file that carries another one is found out.
    ours = _torch_logits(classifier, images)[np.concatenate(batches)]
    theirs = np.concatenate([exported.logits(exported.prepare([images[i] for i in batch])) for batch in batches])
    largest = _largest(rule.probabilities(ours) - rule.probabilities(theirs))
    if not largest <= tolerance:
        raise UserError(
            f"{path.name} differs from PyTorch by {largest:.2g} in a probability, more than export.parity "
            f"({tolerance:g}); it was not written. Another export.opset may help."
        )
    logits = LogitDistance.of(theirs, ours, rule)
    # Where all probabilities are near 0 or 1, even half of every logit gives the same ones.
    if not logits.within(LOGITS * tolerance):
        raise UserError(
            f"{path.name} differs from PyTorch by {logits.largest:.2g} in a logit, more than {LOGITS * tolerance:g} "
            f"({LOGITS} times export.parity) of the logits' spread, {logits.spread:.2g}; it was not written. Another "
            "export.opset may help."
        )
    return Parity(
        n=len(ours),
        batches=tuple(sizes),
        largest=largest,
        largest_logit=logits.largest,
        spread=logits.spread,
        target=tolerance,
        sha256=file_digest(path),
        weights=weights,
    )


def check_rgb(body: Path, path: Path, images: Sequence[Image.Image], tolerance: float) -> RgbParity:
    """Compare an ``rgb.onnx`` with its float32 body fed by Python's preprocessing.

    Raises:
        UserError: a probability differs by more than the tolerance, or is not a number.
    """
    model, whole = OnnxClassifier(body, threads=1), RgbClassifier(path, threads=1)

    def difference(image: Image.Image) -> float:
        return _largest(model.probabilities([image]) - whole.probabilities([image]))

    # np.max, because Python's max passes over NaN.
    largest = float(np.max(side_by_side(difference, images)))
    if not largest <= tolerance:
        raise UserError(
            f"{path.name} differs from Python's preprocessing by {largest:.2g}, above export.parity {tolerance:g}"
        )
    return RgbParity(n=len(images), largest=largest, target=tolerance)


def compare_timm(folder: Path) -> OtherResize:
    """Run ``model.onnx`` on its golden images as timm, and so transformers, resizes them: by one call of Pillow's.

    Args:
        folder: a ``NAME-onnx`` folder with its golden kit, whose scores are compared with.
    """
    index = GoldenIndex.read(folder)
    data = timm.data.resolve_data_config({}, pretrained_cfg=index.spec.to_pretrained_cfg())
    prepare = timm.data.create_transform(**data, is_training=False)
    classifier = OnnxClassifier(folder / FP32.path, threads=1)

    def logits_of(entry: GoldenEntry) -> NDArray[np.float32]:
        image = Image.fromarray(read_pixels(folder, entry.rgb))
        return classifier.logits(prepare(image)[None].numpy())

    logits = np.concatenate(side_by_side(logits_of, index.images))
    return OtherResize.of(f"timm {timm.__version__} with Pillow {PIL.__version__}", index, logits)


@torch.inference_mode()
def _torch_logits(classifier: Classifier, batch: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Logits [B, C], a few images at a time: PyTorch's do not depend on the batch, its memory does."""
    pixels = classifier.spec.normalize(np.stack([classifier.spec.render(image) for image in batch]))
    model = classifier.model.cpu().eval()
    return torch.cat([model(part) for part in torch.split(torch.from_numpy(pixels), 4)]).float().numpy()


def _largest(difference: NDArray[np.float32]) -> float:
    """The largest absolute value; NaN if there is one."""
    return float(np.abs(difference).max())
