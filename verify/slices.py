"""Slices: parts of the test images that are looked at by themselves. Pure functions.

Those of the columns that the config names are declared; those by size, shape, brightness and near-duplicates in
training are there for every data set.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verify.predictions import Predictions
from verify.verdicts import FEWEST

MOST_PARTS = 50
"""Parts of a column that are told apart, the largest first; the rest is one part."""

ASPECT = 1.25
"""Longer over shorter side from which on an image is wide or tall."""


@dataclass(frozen=True)
class Slice:
    """A part of the images."""

    name: str
    """Column and value, such as ``device: phone``."""
    declared: bool
    """The config names its column."""
    images: NDArray[np.bool_]
    """True for the images in it [N]."""

    @property
    def judged(self) -> bool:
        """It has images enough; smaller ones are listed and never judged."""
        return int(self.images.sum()) >= FEWEST


def slices_of(test: Predictions) -> tuple[Slice, ...]:
    """The slices of these images, a column's parts side by side; a column that does not divide them has none."""
    return (*_declared(test), *_automatic(test))


def _declared(test: Predictions) -> Iterator[Slice]:
    rows = [dict(row or ()) for row in test.column("metadata")]
    for column in sorted({name for row in rows for name in row}):
        values = [row.get(column, "") for row in rows]
        yield from _parts(column, np.array([value or "not given" for value in values], object), declared=True)


def _automatic(test: Predictions) -> Iterator[Slice]:
    width, height, brightness = (
        np.array(test.table.column(name).to_numpy(), float) for name in ("width", "height", "brightness")
    )
    yield from _thirds("shorter side", np.minimum(width, height), " px")
    shape = np.select([width >= ASPECT * height, height >= ASPECT * width], ["wide", "tall"], "about square")
    yield from _parts("shape", shape)
    yield from _thirds("brightness", brightness, " of 255")
    near = test.column("near_training")
    yield from _parts("near-duplicate in training", np.array(["yes" if one else "no" for one in near], object))


def _thirds(name: str, values: NDArray[np.floating], unit: str) -> Iterator[Slice]:
    """Three parts of about equally many images."""
    known = np.isfinite(values)
    if not known.any():
        return
    code = np.searchsorted(np.unique(np.quantile(values[known], [1 / 3, 2 / 3])), values)
    names = np.full(len(values), "not known", object)
    for part in np.unique(code[known]):
        rows = known & (code == part)
        names[rows] = f"{values[rows].min():.0f} to {values[rows].max():.0f}{unit}"
    yield from _parts(name, names)


def _parts(column: str, values: NDArray[np.generic], *, declared: bool = False) -> Iterator[Slice]:
    found, counts = np.unique(values.astype(str), return_counts=True)
    if len(found) < 2:
        return
    order = np.argsort(-counts, kind="stable")
    for value in found[order[:MOST_PARTS]]:
        yield Slice(f"{column}: {value}", declared, np.asarray(values == value))
    if len(found) > MOST_PARTS:
        rest = np.isin(values.astype(str), found[order[MOST_PARTS:]])
        yield Slice(f"{column}: {len(found) - MOST_PARTS} others", declared, rest)
