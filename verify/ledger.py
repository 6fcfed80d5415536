"""The ledger: which releases were judged on which test images.

A release that fails can be changed and judged again, until chance lets it pass: 20 tries at a true rate equal to the
target pass 42 % of the time. So the risk of a wrong PASS is shared out over all tries: the j-th distinct release that
is judged on the same images has α · 6 / (π² j²) of it, and all shares together are α. It holds only where nothing but
the verdict is learned from a try: whoever trains on what the report says of single images has a test split no more.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from run.errors import UserError, quoted
from run.files import locked, write_json
from verify.certificate import Look

LEDGER = "ledger.json"

SKETCH = 1024
"""Image digests that are kept of a split, the smallest: enough to find that two splits have images in common."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A release that was judged on a test split."""

    split: str
    """Digest of the split's images, targets and groups."""
    release: str
    """Digest of the release's files."""


@dataclass(frozen=True)
class Ledger:
    """Every use of a test split beside this run."""

    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By split, the smallest digests of its images."""
    judged: tuple[Judged, ...] = ()
    """The first use first; each release once on each split."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read it; empty where there is none.

        Raises:
            UserError: it is damaged.
        """
        if not path.is_file():
            return cls()
        try:
            return TypeAdapter(cls).validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(
                f"{quoted(path)} cannot be read ({'.'.join(map(str, first['loc']))}: {first['msg']}): put back the one "
                "that was there; without it nobody can say how often the test images have been used"
            ) from None

    def look(self, images: Sequence[str], judged: Judged, confidence: float) -> Look | None:
        """Number of a use among those of any of these images; null where it is not in the ledger.

        A split that has grown, or shares images with another, is no new one: what was learned from those images stays.
        """
        sketch = set(_sketch(images))
        uses = [one for one in self.judged if sketch.intersection(self.splits[one.split])]
        if judged not in uses:
            return None
        number = uses.index(judged) + 1
        return Look(number=number, confidence=confidence_of_look(number, confidence))

    def with_use(self, images: Sequence[str], judged: Judged) -> Self:
        """The ledger after this use; judging the same files on the same images again is none."""
        if judged in self.judged:
            return self
        return type(self)({judged.split: _sketch(images), **self.splits}, (*self.judged, judged))


def confidence_of_look(number: int, confidence: float) -> float:
    """Confidence of the criteria at the j-th look, so that all looks together keep to what was asked for."""
    return 1 - (1 - confidence) * 6 / (math.pi * number) ** 2


def record_use(path: Path, images: Sequence[str], judged: Judged, confidence: float) -> Look:
    """Write down that a release is judged on a split, before anyone sees how it fared.

    Raises:
        UserError: the ledger is damaged.
    """
    # Runs beside each other share it.
    with locked(path.with_name(f".{path.stem}.lock"), wait=True):
        before = Ledger.read(path)
        after = before.with_use(images, judged)
        if after is not before:
            write_json(path, asdict(after))
    look = after.look(images, judged, confidence)
    assert look is not None
    return look


def _sketch(images: Sequence[str]) -> tuple[str, ...]:
    # The smallest ones, and not a random choice: an image that two splits share is then kept for both, or for neither.
    return tuple(heapq.nsmallest(SKETCH, {image[:16] for image in images}))
