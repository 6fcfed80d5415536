"""A golden kit in a release: its index, and the part of it that a model is run on."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.labels import LabelSet
from export.metadata import read_rule
from export.records import record_of
from models.decision import DecisionRule
from models.spec import InputSpec
from run.errors import UserError
from run.files import Json, write_json

GOLDEN = Path("golden")
"""The kit inside a ``NAME-onnx`` folder."""


@dataclass(frozen=True)
class GoldenRow:
    """The result of one step for one image."""

    image: str
    step: str
    difference: float
    """Levels of 255 for pixels, else the largest absolute difference."""
    tolerance: float

    @property
    def passed(self) -> bool:
        """True where the step gives what it gave when the kit was made; never for NaN."""
        return self.difference <= self.tolerance


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Largest difference allowed in each step: levels of 255 for pixels, else absolute."""

    decode: int
    resize: int
    logits: float
    probabilities: float


@dataclass(frozen=True, kw_only=True)
class GoldenEntry:
    """One image, and the result of every step: files in the kit for pixels, numbers else."""

    name: str
    file: str
    purpose: str
    width: int
    height: int
    rgb: str
    """The decoded image."""
    pixels: str
    """The resized image."""
    probabilities: tuple[float, ...]
    scores: tuple[float, ...] | None = None
    """Of ordinal labels."""
    decision: tuple[str, ...] | None = None
    """Labels that are decided; null in kits of before version 0.2."""
    logits: tuple[float, ...]
    tolerance: Tolerance

    def to_json(self) -> dict[str, Json]:
        """As ``index.json`` has it."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class GoldenIndex:
    """``index.json``."""

    files: Mapping[str, str]
    """SHA-256 of the files that were run, by name."""
    rule: DecisionRule
    spec: InputSpec
    decode: str
    images: tuple[GoldenEntry, ...]

    def write(self, folder: Path) -> None:
        """Write it into the kit's folder."""
        content: dict[str, Json] = {
            "format": 1,
            "files": self.files,
            "labels": self.rule.labels.to_json(),
            "decision": self.rule.to_json(),
            "input": self.spec.to_pretrained_cfg(),
            "decode": self.decode,
            "images": [entry.to_json() for entry in self.images],
        }
        write_json(folder / "index.json", content)

    @classmethod
    def read(cls, release: Path) -> "GoldenIndex":
        """The index of a ``NAME-onnx`` folder's kit.

        Raises:
            UserError: there is no kit, or it is damaged.
        """
        path = release / GOLDEN / "index.json"
        if not path.is_file():
            raise UserError(f"{path} is not there: give a release folder NAME-onnx that `pocketeva export` wrote")
        with damaged(release):
            stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            labels = LabelSet.of_json(stored["labels"])
            return cls(
                files=stored["files"],
                rule=read_rule(labels, stored.get("decision")),
                spec=InputSpec.from_pretrained_cfg(stored["input"]),
                decode=stored["decode"],
                images=tuple(record_of(GoldenEntry, entry) for entry in stored["images"]),
            )


@dataclass(frozen=True)
class Kit:
    """Inputs and logits of a model; N images in order."""

    names: list[str]
    pixel_values: NDArray[np.float32]
    """[N, 3, S, S]"""
    logits: NDArray[np.float32]
    """[N, C], of ``model.onnx``"""
    tolerances: list[float]
    """Of the logits of each."""
    rule: DecisionRule


def read_kit(release: Path) -> Kit:
    """The part of a kit that a model is run on.

    Raises:
        UserError: there is no kit, or it is damaged.
    """
    index = GoldenIndex.read(release)
    with damaged(release):
        pixels = [read_pixels(release / GOLDEN / entry.pixels) for entry in index.images]
        return Kit(
            names=[entry.name for entry in index.images],
            pixel_values=np.stack([index.spec.normalize(image) for image in pixels]),
            logits=np.array([entry.logits for entry in index.images], np.float32),
            tolerances=[entry.tolerance.logits for entry in index.images],
            rule=index.rule,
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
