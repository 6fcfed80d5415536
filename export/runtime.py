"""Exported files in ONNX Runtime: from a decoded image to probabilities."""

import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.metadata import read_contract
from export.session import open_session
from run.errors import UserError


class OnnxClassifier:
    """A ``model.onnx`` written by this project, with decision rule and input contract from its own metadata.

    Args:
        path: the file.
        threads: of ONNX Runtime; null takes every core.

    Raises:
        UserError: it is missing, damaged, or does not carry the metadata.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.threads = threads
        if not path.is_file():
            raise UserError(f"{path} is not there: run `pocketeva export` first, or check the name")
        try:
            self._session = open_session(path, threads)
        except Exception as error:  # ONNX Runtime's own errors share no other base
            raise UserError(f"{path} cannot be run: {error}") from error
        contract = read_contract(self._session.get_modelmeta().custom_metadata_map, path)
        self.rule = contract.rule
        self.labels = contract.rule.labels
        self.spec = contract.spec

    def prepare(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Decoded images as ``pixel_values`` [B, 3, S, S]."""
        return self.spec.normalize(np.stack([self.spec.render(image) for image in images]))

    def logits(self, pixel_values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [B, C] of prepared images [B, 3, S, S], run as one batch."""
        (values,) = self._session.run(["logits"], {"pixel_values": pixel_values})
        return np.asarray(values, np.float32)

    def logits_of(self, image: Image.Image) -> NDArray[np.float32]:
        """Logits [C] of a decoded image, run by itself.

        That is how an app asks, and dynamic INT8 takes its scales from all images of a batch.
        """
        return np.asarray(self.logits(self.prepare([image]))[0])

    def probabilities(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Probabilities [B, C] of decoded images, each run by itself."""
        return self.rule.probabilities(np.stack([self.logits_of(image) for image in images]))


class RgbClassifier(OnnxClassifier):
    """An ``rgb.onnx``: takes decoded images of any size, one at a time."""

    def outputs(self, image: Image.Image) -> dict[str, NDArray[np.float32]]:
        """``probabilities`` [C] of a decoded image, and ``scores`` [C] where the labels are ordinal."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, {"image": np.asarray(image)}), strict=True))

    def logits_of(self, image: Image.Image) -> NDArray[np.float32]:
        """Logits [C] that give the file's probabilities of a decoded image: it has no output for its own."""
        return self.rule.logits(self.probabilities([image])[0])

    def probabilities(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Probabilities [B, C] of decoded images."""
        return np.stack([self.outputs(image)["probabilities"] for image in images])


def processor() -> str:
    """The model of this machine's CPU, which speed and the last digits of INT8 depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
