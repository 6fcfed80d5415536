"""A released model that is asked about images one by one: what ``pocketeva.load`` gives, and ``predict`` runs."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.decode import decode, upright_rgb
from data.labels import LabelSet
from data.storage import read_bytes
from export.choose import find_model
from export.formats import FORMATS
from export.formats.run import ConvertedClassifier
from export.limits import MOST_SECONDS
from export.release import open_onnx
from run.errors import UserError, quoted

ImageLike: TypeAlias = "str | Path | bytes | Image.Image | NDArray[np.uint8]"
"""A path or a URI, the bytes of an image file, a Pillow image, or RGB pixels [height, width, 3]."""


class NotANumberError(UserError):
    """A model gave a score that is not a number: whatever is decided by it means nothing."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A model's answer for one image."""

    label: str | None
    """What is decided; null for a multilabel set."""
    labels: tuple[str, ...]
    """Every label that is decided: one, or any number of a multilabel set."""
    scores: Mapping[str, float]
    """Probability of each label, in the label set's order."""
    ms: float
    """Milliseconds from bytes to scores."""

    def top(self, count: int | None = None) -> dict[str, float]:
        """The likeliest labels with their probabilities, the likeliest first; null takes all."""
        return dict(sorted(self.scores.items(), key=lambda score: -score[1])[:count])


class Predictor:
    """A released model, open; ``pocketeva.load`` has the arguments.

    Example:
        >>> predictor = Predictor(Path("outputs/demo/release/teacher-onnx"))
        >>> predictor.predict("photograph.jpg").label
        'moderate'
    """

    def __init__(self, release: Path, threads: int | None = None) -> None:
        self.file = find_model(release)
        names = [name for name, form in FORMATS.items() if form.path.name == self.file.name]
        self._model = (
            ConvertedClassifier(self.file, names[0])
            if names
            else open_onnx(self.file, threads, seconds=MOST_SECONDS)  # it may be a stranger's
        )

    @property
    def labels(self) -> LabelSet:
        """The label set, in the order of scores."""
        return self._model.rule.labels

    def predict(self, image: ImageLike) -> Prediction:
        """Decide on one image.

        Raises:
            DecodeError: the decode contract refuses the bytes.
            OSError: the file cannot be read.
            NotANumberError: the model has no answer for it.
        """
        started = time.perf_counter()
        probabilities = self._model.probabilities([_decoded(image)])
        elapsed = 1000 * (time.perf_counter() - started)
        # A comparison with what is not a number is false: without a word, the mildest label would be decided.
        if not np.isfinite(probabilities).all():
            raise NotANumberError(f"{quoted(self.file)} gives a score that is not a number")
        rule = self._model.rule
        chosen = rule.names(rule.decide(probabilities)[0])
        return Prediction(
            label=chosen[0] if rule.exclusive else None,
            labels=chosen,
            scores=dict(zip(rule.labels.names, map(float, probabilities[0]), strict=True)),
            ms=elapsed,
        )


def _decoded(image: ImageLike) -> Image.Image:
    """RGB, upright, by the decode contract."""
    if isinstance(image, str | Path):
        return decode(read_bytes(str(image)))
    if isinstance(image, bytes):
        return decode(image)
    if isinstance(image, Image.Image):
        return upright_rgb(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(f"pixels have to be uint8 [height, width, 3], not {image.dtype} {list(image.shape)}")
    return Image.fromarray(image)
