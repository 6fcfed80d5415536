"""The golden kit: images with what every step has to give for them, to find the step that differs. No torch here."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from PIL import Image
from rich import box
from rich.table import Table

from data.decode import DecodeError, decode
from export.formats.check import golden_rows, not_run
from export.golden.images import GoldenImage, encode_png, golden_images
from export.golden.kit import GOLDEN, GoldenRow, damaged, read_index, read_pixels
from export.golden.readme import readme
from export.release import FP32, RGB
from export.rgb import DECODE
from export.runtime import OnnxClassifier, RgbClassifier
from run.console import console
from run.files import Json, atomic_path, file_digest, write_json, write_text

RESIZE_LEVELS = 2
"""Levels of 255 that another implementation of the resize may be off; ours is equal."""

STEPS = ("decode", "resize", "logits", "probabilities")


def write_golden(folder: Path, rgb: Path, model: Path) -> None:
    """Write the kit atomically: ``index.json``, ``README.md``, and three image files for each image.

    Args:
        folder: replaced if it is there.
        rgb: the release's ``rgb.onnx``; gives the probabilities.
        model: its ``model.onnx`` in float32; gives the logits.
    """
    classifier, whole = OnnxClassifier(model, threads=1), RgbClassifier(rgb, threads=1)
    probability = 0.05 if _is_quantized(rgb) else 1e-4
    with atomic_path(folder) as partial:
        partial.mkdir(parents=True)
        entries = [_write_image(partial, image, classifier, whole, probability) for image in golden_images()]
        index: dict[str, Json] = {
            "format": 1,
            "files": {FP32.path.name: file_digest(model), RGB.path.name: file_digest(rgb)},
            "labels": classifier.labels.to_json(),
            "input": classifier.spec.to_pretrained_cfg(),
            "decode": DECODE,
            "images": entries,
        }
        write_json(partial / "index.json", index)
        write_text(partial / "README.md", readme(classifier.spec, classifier.labels, entries))


def _is_quantized(path: Path) -> bool:
    """Integer arithmetic saturates differently between processors: such files get a wider tolerance."""
    return any("Quantize" in node.op_type for node in onnx.load(path).graph.node)


def _write_image(
    folder: Path, image: GoldenImage, classifier: OnnxClassifier, whole: RgbClassifier, probability: float
) -> dict[str, Json]:
    decoded = decode(image.data)
    pixels = classifier.spec.render(decoded)
    logits = classifier.logits(classifier.spec.normalize(pixels[None]))[0]
    rgb_file, pixels_file = f"{image.name}.rgb.png", f"{image.name}.pixels.png"
    (folder / image.file).write_bytes(image.data)
    (folder / rgb_file).write_bytes(encode_png(decoded))
    (folder / pixels_file).write_bytes(encode_png(Image.fromarray(pixels)))
    return {
        "name": image.name,
        "file": image.file,
        "purpose": image.purpose,
        "width": decoded.width,
        "height": decoded.height,
        "rgb": rgb_file,
        "pixels": pixels_file,
        **{name: [float(value) for value in values] for name, values in whole.outputs(decoded).items()},
        "logits": [float(value) for value in logits],
        "tolerance": {
            "decode": image.levels,
            "resize": RESIZE_LEVELS,
            "logits": 1e-3 * max(1.0, float(np.abs(logits).max())),
            "probabilities": probability,
        },
    }


def check_golden(release: Path) -> list[GoldenRow]:
    """Run every step of a release on the kit inside it.

    Each step starts from what the kit has for the step before, so that one fault shows in one step. Files for other
    runtimes are steps too, named like their formats, where the runtime is installed.

    Args:
        release: a ``NAME-onnx`` folder.

    Returns:
        One row for each image and step, in order, and then for each image and format; ``difference`` is infinite where
        shapes differ.

    Raises:
        UserError: there is no kit, it is damaged, or a model file is missing.
    """
    index = read_index(release)
    classifier, whole = OnnxClassifier(release / FP32.path), RgbClassifier(release / RGB.path)
    with damaged(release):
        rows = [row for entry in index["images"] for row in _check_image(release / GOLDEN, entry, classifier, whole)]
    return rows + golden_rows(release)


def _check_image(
    folder: Path, entry: dict[str, Any], classifier: OnnxClassifier, whole: RgbClassifier
) -> Iterator[GoldenRow]:
    decoded, pixels = Image.fromarray(read_pixels(folder / entry["rgb"])), read_pixels(folder / entry["pixels"])
    differences = {
        "decode": _decode_difference((folder / entry["file"]).read_bytes(), decoded),
        "resize": _largest(classifier.spec.render(decoded), pixels),
        "logits": _largest(classifier.logits(classifier.spec.normalize(pixels[None]))[0], entry["logits"]),
        "probabilities": _largest(whole.outputs(decoded)["probabilities"], entry["probabilities"]),
    }
    for step in STEPS:
        yield GoldenRow(entry["name"], step, differences[step], float(entry["tolerance"][step]))


def _decode_difference(data: bytes, expected: Image.Image) -> float:
    try:
        return _largest(np.asarray(decode(data)), np.asarray(expected))
    except DecodeError:
        return math.inf


def _largest(found: ArrayLike, expected: ArrayLike) -> float:
    """The largest absolute difference; infinite between different shapes."""
    ours, theirs = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else math.inf


def show_golden(release: Path) -> bool:
    """Print a table of ``check_golden`` with one line for each image, and whether every step passed.

    Raises:
        UserError: as ``check_golden``.
    """
    rows = check_golden(release)
    steps = list(dict.fromkeys(row.step for row in rows))
    table = Table("image", *steps, box=box.SIMPLE_HEAD)
    for image in dict.fromkeys(row.image for row in rows):
        table.add_row(image, *(_cell(row) for row in rows if row.image == image))
    console.print(table)
    failed = [row for row in rows if not row.passed]
    console.print(_verdict(rows, failed, steps))
    for reason in not_run(release):
        console.print(reason, soft_wrap=True)
    return not failed


def _cell(row: GoldenRow) -> str:
    return f"{row.difference:.2g}" if row.passed else f"{row.difference:.2g} > {row.tolerance:.2g}"


def _verdict(rows: Sequence[GoldenRow], failed: Sequence[GoldenRow], steps: Sequence[str]) -> str:
    if not failed:
        return f"all {len(rows)} steps give what they gave at export"
    first = min(failed, key=lambda row: steps.index(row.step))
    return f"{len(failed)} of {len(rows)} steps differ; the first to look at: {first.step} of {first.image}"
