"""The page's files in an ONNX folder: ``index.html``, and what it loads, in ``page/``."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PIL import Image

from export.golden.kit import GOLDEN, GoldenIndex
from export.records import Record
from export.release import FP32, RGB
from export.runtime import RgbClassifier
from run.files import file_digest

FILES = Path(__file__).with_name("files")
"""The page as it is written into every release."""

INDEX = "index.html"

FLOAT_RGB = Path("page/rgb.onnx")
"""``rgb.onnx`` with the float32 body, where the one that is shipped has an INT8 body: in WASM, INT8 is no faster, and
rounds otherwise than where it was judged (docs/benchmarks.md)."""

DIFFERENCE = 1e-3
"""Largest difference of a probability from Python's with which a browser behaves as in training."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The result of the page's model in Python for an image of the golden kit."""

    probabilities: tuple[float, ...]
    decision: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PageSettings(Record):
    """The page's own, and what else differs between releases. Names are in JSON alone: no HTML has to escape them."""

    FILE: ClassVar[str] = "page/settings.json"

    name: str
    blur: bool
    model: str
    """The file that is run."""
    digest: str
    """Its SHA-256."""
    rule: str
    """The file whose rule it ships with, as ``thresholds.json`` names it."""
    difference: float
    """Allowed, of a probability from an expected one."""
    expected: Mapping[str, Expected]
    """By image of the golden kit."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """The page of one model."""

    name: str
    """Of the model, for people."""
    blur: bool
    """Blur images until they are clicked."""

    def keep_float(self, rgb: Path, folder: Path) -> None:
        """Take an ``rgb.onnx`` with a float32 body for the page, before one with an INT8 body replaces it."""
        (folder / FLOAT_RGB).parent.mkdir(exist_ok=True)
        shutil.copyfile(rgb, folder / FLOAT_RGB)

    def write(self, folder: Path) -> None:
        """Write the page into an ONNX folder, whose other files are there."""
        for path in page_files():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(FILES / path, target)
        own = (folder / FLOAT_RGB).is_file()
        model = FLOAT_RGB if own else RGB.path
        PageSettings(
            name=self.name,
            blur=self.blur,
            model=model.as_posix(),
            digest=file_digest(folder / model),
            rule=(FP32 if own else RGB).path.as_posix(),
            difference=DIFFERENCE,
            expected=_expected(folder, folder / model),
        ).write(folder)


def page_files() -> list[Path]:
    """The files that are the same in every release, sorted, as paths inside an ONNX folder."""
    return sorted(path.relative_to(FILES) for path in FILES.rglob("*") if path.suffix in (".html", ".css", ".js"))


def _expected(folder: Path, model: Path) -> dict[str, Expected]:
    classifier = RgbClassifier(model, threads=1)
    found = {}
    for entry in GoldenIndex.read(folder).images:
        with Image.open(folder / GOLDEN / entry.rgb) as image:
            outputs = classifier.outputs(image)
        found[entry.name] = Expected(
            probabilities=tuple(map(float, outputs["probabilities"])),
            decision=classifier.rule.names(outputs["decision"]),
        )
    return found
