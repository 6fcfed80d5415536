"""Files for other runtimes against the golden kit beside them: the same numbers in another runtime."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.config import FormatName
from export.divergence import LogitDistance
from export.formats import FORMATS, how_to_install, installed
from export.formats.format import Format, Infer
from export.golden.kit import GoldenRow, Kit, read_kit
from export.libraries import first_line, silently
from run.errors import UserError, quoted

BATCH = 4
"""Images at a time: a file that takes several gets several, and at the kit's end fewer."""


@dataclass(frozen=True)
class Comparison:
    """Distance of a file from the kit."""

    rows: list[GoldenRow]
    """Of the logits of each image."""
    largest: float
    """Difference of a probability, over all images."""
    distance: LogitDistance
    """Over all images."""


def compare(infer: Infer, kit: Kit, step: str, name: str = "the file") -> Comparison:
    """Run a file on every image of a kit; what is not a number counts as infinitely far.

    Raises:
        UserError: it gives another number of logits; the message calls it by ``name``.
    """
    probabilities = kit.rule.probabilities
    parts = np.split(kit.pixel_values, range(BATCH, len(kit.pixel_values), BATCH))
    ours = np.concatenate([infer(part) for part in parts])
    if ours.shape != kit.logits.shape:
        raise UserError(f"{name} gives logits {list(ours.shape)} where the golden kit has {list(kit.logits.shape)}")
    by_image = zip(kit.names, _largest_by_row(ours - kit.logits).tolist(), kit.tolerances, strict=True)
    return Comparison(
        rows=[GoldenRow(image, step, difference, tolerance) for image, difference, tolerance in by_image],
        largest=float(_largest_by_row(probabilities(ours) - probabilities(kit.logits)).max()),
        distance=LogitDistance.of(ours, kit.logits, kit.rule),
    )


def _largest_by_row(differences: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.nan_to_num(np.abs(differences).max(axis=1), nan=np.inf))


def open_format(form: Format, path: Path) -> Infer:
    """Open a file in its runtime.

    Raises:
        UserError: the runtime refuses the file, now or when it is run.
    """
    assert form.load is not None
    with _refusals(form, path), silently():
        infer = form.load(path)

    def guarded(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        with _refusals(form, path):
            return infer(pixels)

    return guarded


@contextmanager
def _refusals(form: Format, path: Path) -> Iterator[None]:
    """Say which file a runtime refuses; not where it lies, because ``formats.json`` repeats it."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{path.name} cannot be run by {form.title}: {first_line(error)}") from error


def golden_rows(release: Path) -> list[GoldenRow]:
    """The logits of each file for another runtime that is in a release and can be run here; steps named like formats.

    Raises:
        UserError: a file cannot be run, or the kit is damaged.
    """
    runnable = [name for name, form in FORMATS.items() if (release / form.path).exists() and why_not(name) is None]
    if not runnable:
        return []
    kit = read_kit(release)
    rows: list[GoldenRow] = []
    for name in runnable:
        path = release / FORMATS[name].path
        rows += compare(open_format(FORMATS[name], path), kit, name, quoted(path)).rows
    return rows


def not_run(release: Path) -> list[str]:
    """One sentence for each file of a release that ``golden_rows`` leaves out."""
    reasons = {form.path: why_not(name) for name, form in FORMATS.items() if (release / form.path).exists()}
    return [f"{path.as_posix()} was not run: {reason}" for path, reason in reasons.items() if reason is not None]


def why_not(name: FormatName) -> str | None:
    """The reason why a format cannot be run here; null if it can."""
    if FORMATS[name].load is None:
        return f"{FORMATS[name].title} is not to be had on Linux"
    return None if installed(FORMATS[name]) else how_to_install(name)
