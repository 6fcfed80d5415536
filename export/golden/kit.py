"""A golden kit that lies in a release, as what checks itself against it reads it. No torch here."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.config import Kind
from data.labels import LabelSet
from models.spec import InputSpec
from run.errors import UserError

GOLDEN = Path("golden")
"""The kit inside a ``NAME-onnx`` folder."""


@dataclass(frozen=True)
class GoldenRow:
    """How far one step is off for one image: levels of 255 for pixels, else the largest absolute difference."""

    image: str
    step: str
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the step gives what it gave when the kit was made; never for NaN."""
        return self.difference <= self.tolerance


@dataclass(frozen=True)
class Kit:
    """What a model gets of each image, and what it has to give; N images in order."""

    names: list[str]
    pixel_values: NDArray[np.float32]
    """[N, 3, S, S]"""
    logits: NDArray[np.float32]
    """[N, C], of ``model.onnx``"""
    tolerances: list[float]
    """Of the logits of each."""
    kind: Kind


def read_index(release: Path) -> dict[str, Any]:
    """``index.json`` of a ``NAME-onnx`` folder's kit.

    Raises:
        UserError: there is no kit, or it is damaged.
    """
    path = release / GOLDEN / "index.json"
    if not path.is_file():
        raise UserError(f"{path} is not there: give a release folder NAME-onnx that `pocketeva export` wrote")
    with damaged(release):
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return index


def read_kit(release: Path) -> Kit:
    """The part of a kit that a model is run on.

    Raises:
        UserError: there is no kit, or it is damaged.
    """
    index = read_index(release)
    with damaged(release):
        spec, entries = InputSpec.from_pretrained_cfg(index["input"]), index["images"]
        return Kit(
            names=[entry["name"] for entry in entries],
            pixel_values=np.stack(
                [spec.normalize(read_pixels(release / GOLDEN / entry["pixels"])) for entry in entries]
            ),
            logits=np.array([entry["logits"] for entry in entries], np.float32),
            tolerances=[float(entry["tolerance"]["logits"]) for entry in entries],
            kind=LabelSet.of_json(index["labels"]).kind,
        )


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """An image of the kit, [height, width, 3]."""
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


@contextmanager
def damaged(release: Path) -> Iterator[None]:
    """Say of what goes wrong inside that the kit is damaged."""
    try:
        yield
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(f"{release / GOLDEN} is damaged: {error}; run `pocketeva export` again") from error
