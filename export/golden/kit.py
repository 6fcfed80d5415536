"""A golden kit in a release: its index, and the part of it that a model is run on."""

import json
import math
import mmap
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.decode import decode
from data.labels import LabelSet
from data.storage import read_bytes
from export.golden.images import LEVELS
from export.metadata import read_rule
from export.records import record_of
from models.decision import DecisionRule
from models.spec import InputSpec
from run.errors import UserError, quoted
from run.files import Json, write_json

GOLDEN = Path("golden")
"""The kit inside a ``NAME-onnx`` folder."""
RESIZE_LEVELS = 2
"""Levels of 255 that another implementation of the resize may be off; ours is equal."""
MOST_IMAGES = 64
MOST_BYTES = 64 * 2**20
"""Of one file of a kit. What a stranger's kit says is believed within these."""
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.(?:png|jpg|json)")
"""Names of the kit's files."""


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
    """Largest difference allowed in each step: levels of 255 for pixels, else absolute.

    A kit has them for apps. Ours are taken from ``tolerance_of``: a kit that allows anything would pass.
    """

    decode: int
    resize: int
    logits: float
    probabilities: float


def tolerance_of(name: str, logits: Sequence[float], *, quantized: bool) -> Tolerance:
    """The tolerances for an image of the kit.

    Args:
        name: of the image; one that is none of ours has to decode without loss.
        quantized: ``rgb.onnx`` has an INT8 body. Its values are rounded differently between processors and runtimes.
    """
    return Tolerance(
        decode=LEVELS.get(name, 0),
        resize=RESIZE_LEVELS,
        logits=1e-3 * max(1.0, *map(abs, logits)),
        probabilities=0.05 if quantized else 1e-4,
    )


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
            raise UserError(
                f"{quoted(path)} does not exist: give a release folder NAME-onnx that `pocketeva export` wrote"
            )
        with damaged(release):
            stored: dict[str, Any] = json.loads(read_file(release, path.name))
            labels = LabelSet.of_json(stored["labels"])
            if len(stored["images"]) > MOST_IMAGES:
                raise ValueError(f"{len(stored['images']):,} images; {MOST_IMAGES} are allowed")
            return cls(
                files=stored["files"],
                rule=read_rule(labels, stored.get("decision")),
                spec=InputSpec.from_pretrained_cfg(stored["input"]),
                decode=stored["decode"],
                images=tuple(_entry(entry, len(labels)) for entry in stored["images"]),
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
        pixels = [read_pixels(release, entry.pixels) for entry in index.images]
        return Kit(
            names=[entry.name for entry in index.images],
            pixel_values=np.stack([index.spec.normalize(image) for image in pixels]),
            logits=np.array([entry.logits for entry in index.images], np.float32),
            tolerances=[tolerance_of(e.name, e.logits, quantized=False).logits for e in index.images],
            rule=index.rule,
        )


def read_file(release: Path, name: str) -> bytes:
    """The bytes of a file of the kit, by its plain name.

    Raises:
        ValueError: the name leads out of the kit.
        OSError: it is not there, is a link or no regular file, or is larger than any file of a kit.
    """
    if not PLAIN.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a file inside {GOLDEN}")
    path = release / GOLDEN / name
    if not _is_own(path, release) or path.stat().st_size > MOST_BYTES:
        raise OSError(f"{name} is a link, or larger than {MOST_BYTES:,} bytes")
    return read_bytes(str(path))


def _is_own(path: Path, release: Path) -> bool:
    """False for what lies outside of the release; links in the Hub's cache lead to a folder of the same repository."""
    root = release.resolve()
    if path.is_symlink():
        return root.parent.name == "snapshots" and path.resolve().is_relative_to(root.parents[1] / "blobs")
    return path.resolve().is_relative_to(root)


def read_pixels(release: Path, name: str) -> NDArray[np.uint8]:
    """An image of the kit, [height, width, 3]: a PNG, whatever else its content would make of it.

    Raises:
        ValueError: the name leads out of the kit, or is no PNG's; or the content is none.
    """
    data = read_file(release, name)
    if not name.endswith(".png") or not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"{name} is no PNG")
    return np.asarray(decode(data))


def is_quantized(path: Path) -> bool:
    """True for a file with an INT8 model in it: one that names an operator of such, looked for without ``onnx``."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return any(data.find(operator) >= 0 for operator in (b"QuantizeLinear", b"MatMulNBits"))


def _entry(stored: Mapping[str, Any], labels: int) -> GoldenEntry:
    """An entry with a number for each label, all of them finite."""
    entry = record_of(GoldenEntry, stored)
    for numbers in (entry.logits, entry.probabilities, entry.scores or entry.probabilities):
        if len(numbers) != labels or not all(map(math.isfinite, numbers)):
            raise ValueError(f"{entry.name} has no finite number for each of {labels} labels")
    return entry


@contextmanager
def damaged(release: Path) -> Iterator[None]:
    """Say of what goes wrong inside that the kit is damaged."""
    try:
        yield
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError, OSError) as error:
        raise UserError(f"{quoted(release / GOLDEN)} is damaged: {error}; run `pocketeva export` again") from error
