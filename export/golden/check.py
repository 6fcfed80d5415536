"""Checking a release against the golden kit inside it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from rich import box
from rich.table import Table

from data.decode import DecodeError, decode
from export.formats.check import golden_rows, not_run
from export.golden.kit import (
    GOLDEN,
    GoldenEntry,
    GoldenIndex,
    GoldenRow,
    damaged,
    is_quantized,
    read_file,
    read_pixels,
    tolerance_of,
)
from export.limits import MOST_SECONDS, bounded_memory
from export.release import FP32, RGB
from export.runtime import OnnxClassifier, RgbClassifier
from models.decision import DecisionRule
from run.console import console, show_table
from run.errors import UserError, quoted

STEPS = ("decode", "resize", "logits", "probabilities", "decision")


def check_golden(release: Path) -> list[GoldenRow]:
    """Run every step of a release folder ``NAME-onnx`` on the kit inside it.

    Each step starts from what the kit has for the step before, so that one fault shows in one step. Files for other
    runtimes are steps too, named like their formats, where the runtime is installed.

    Returns:
        One row for each image and step, in order, and then for each image and format; ``difference`` is infinite where
        shapes differ.

    Raises:
        UserError: there is no kit, it is damaged, or a model file is missing.
    """
    index = GoldenIndex.read(release)
    model = release / FP32.path
    rgb = release / RGB.path
    with bounded_memory(max(model, rgb, key=_size)):
        classifier = OnnxClassifier(model, seconds=MOST_SECONDS)
        whole = RgbClassifier(rgb, seconds=MOST_SECONDS)
        classifier.labels.require_equal(index.rule.labels, str(release / GOLDEN))
        if classifier.spec != index.spec:
            raise UserError(f"{quoted(release / GOLDEN)} was made for another input contract than {quoted(model)} has")
        quantized = is_quantized(rgb)
        rows = [row for entry in index.images for row in _check_image(release, entry, classifier, whole, quantized)]
        return rows + golden_rows(release)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _check_image(
    release: Path, entry: GoldenEntry, classifier: OnnxClassifier, whole: RgbClassifier, quantized: bool
) -> Iterator[GoldenRow]:
    with damaged(release):
        data = read_file(release, entry.file)
        decoded = Image.fromarray(read_pixels(release, entry.rgb))
        pixels = read_pixels(release, entry.pixels)
        if pixels.shape != (classifier.spec.size, classifier.spec.size, 3):
            raise ValueError(f"{entry.pixels} has the shape {pixels.shape}")
    outputs = whole.outputs(decoded)
    differences = {
        "decode": _decode_difference(data, decoded),
        "resize": _largest(classifier.spec.render(decoded), pixels),
        "logits": _largest(classifier.logits(classifier.spec.normalize(pixels[None]))[0], entry.logits),
        "probabilities": _largest(outputs["probabilities"], entry.probabilities),
        "decision": _decisions_wrong(entry, whole.rule, outputs),
    }
    # The kit's own tolerances may say anything. A decision follows from its probabilities: there is nothing to round.
    tolerances = {**asdict(tolerance_of(entry.name, entry.logits, quantized=quantized)), "decision": 0}
    for step in STEPS:
        yield GoldenRow(entry.name, step, differences[step], tolerances[step])


def _decisions_wrong(entry: GoldenEntry, rule: DecisionRule, outputs: Mapping[str, NDArray[np.float32]]) -> int:
    """Count what is not the rule's decision: the kit's for the kit's probabilities, the graph's for its own."""
    if entry.decision is None:
        return 0  # a release of before version 0.2, whose graph decides nothing
    if "decision" not in outputs:
        return 1
    kept = rule.decide(np.array([entry.probabilities], np.float32))[0]
    given = rule.decide(outputs["probabilities"][None])[0]
    return (rule.names(kept) != entry.decision) + (rule.names(outputs["decision"]) != rule.names(given))


def _decode_difference(data: bytes, expected: Image.Image) -> float:
    try:
        return _largest(np.asarray(decode(data)), np.asarray(expected))
    except DecodeError:
        return math.inf


def _largest(found: ArrayLike, expected: ArrayLike) -> float:
    """The largest absolute difference; infinite between different shapes."""
    ours = np.asarray(found, np.float64)
    theirs = np.asarray(expected, np.float64)
    return float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else math.inf


def show_golden(release: Path) -> bool:
    """Print a table of ``check_golden`` with one line for each image.

    Returns:
        True where every step passed.
    """
    rows = check_golden(release)
    steps = list(dict.fromkeys(row.step for row in rows))
    table = Table("image", *steps, box=box.SIMPLE_HEAD)
    for image in dict.fromkeys(row.image for row in rows):
        table.add_row(image, *(_cell(row) for row in rows if row.image == image))
    show_table(table)
    failed = [row for row in rows if not row.passed]
    console.print(_verdict(rows, failed, steps))
    for reason in not_run(release):
        console.print(reason, soft_wrap=True)
    return not failed


def _cell(row: GoldenRow) -> str:
    if math.isinf(row.difference):
        return "other size, or none"
    return f"{row.difference:.2g}" if row.passed else f"{row.difference:.2g} > {row.tolerance:.2g}"


def _verdict(rows: Sequence[GoldenRow], failed: Sequence[GoldenRow], steps: Sequence[str]) -> str:
    if not failed:
        return f"all {len(rows)} steps give what they gave at export"
    first = min(failed, key=lambda row: steps.index(row.step))
    return f"{len(failed)} of {len(rows)} steps differ; the first to look at: {first.step} of {first.image}"
