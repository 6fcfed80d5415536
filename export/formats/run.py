"""A file for another runtime as a classifier, with decision rule and input contract from ``formats.json``."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.config import FormatName
from export.formats import FORMATS
from export.formats.check import open_format, why_not
from export.formats.record import FormatsRecord
from run.errors import UserError, quoted


class ConvertedClassifier:
    """A converted file, in its runtime.

    Args:
        path: the file; ``formats.json`` lies in the folder above its own.

    Raises:
        UserError: its runtime is not here or refuses it, or the record is missing.
    """

    def __init__(self, path: Path, name: FormatName) -> None:
        reason = why_not(name)
        if reason is not None:
            raise UserError(f"{quoted(path)} cannot be run: {reason}")
        record = FormatsRecord.read(path.parent.parent)
        self.rule = record.rule
        self.spec = record.spec
        self._path = path
        self._infer = open_format(FORMATS[name], path)

    def probabilities(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Probabilities [B, C] of decoded images, each run by itself."""
        pixels = (self.spec.normalize(self.spec.render(image)[None]) for image in images)
        logits = np.concatenate([self._infer(one) for one in pixels])
        if logits.shape != (len(images), len(self.rule.labels)):
            raise UserError(
                f"{quoted(self._path)} gives {logits.shape[1:]} logits, and {FormatsRecord.FILE} beside it has "
                f"{len(self.rule.labels)} labels: it was changed since it was exported"
            )
        return self.rule.probabilities(logits)
