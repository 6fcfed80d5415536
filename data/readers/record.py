"""What every reader gives: one record per image, before any byte of it is read."""

from collections.abc import Mapping
from dataclasses import dataclass

from data.manifest import SPLITS
from run.errors import UserError

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"))
"""File name endings taken for images when a folder is walked; decoding goes by content."""

_SPLIT_NAMES: Mapping[str, str] = {
    "valid": "val",
    "validation": "val",
    "unlabeled": "unlabeled",
    **{split: split for split in SPLITS},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One image and what the source says of it."""

    uri: str
    """An absolute path, or a URI that fsspec knows."""
    target: tuple[float, ...] | None = None
    """A distribution over the labels; for multilabel sets the probability of each; null where there is no label."""
    votes: tuple[float, ...] | None = None
    """The annotators' votes per label, where the source has them."""
    split: str | None = None
    """The split the source gives, if it gives one."""
    group: str | None = None
    """What this image shares with others that must stay in its split, if the source says."""
    where: str
    """The place in the source, for messages: ``labels.csv, line 3``."""


def one_hot(index: int, size: int) -> tuple[float, ...]:
    """All mass on one label."""
    return tuple(float(i == index) for i in range(size))


def split_named(name: str, where: str) -> str:
    """A source's split name in this project's words.

    Raises:
        UserError: the name is none of train, val (valid, validation), calibration, test, unlabeled.
    """
    try:
        return _SPLIT_NAMES[name]
    except KeyError:
        raise UserError(f"{where}: split {name!r} is none of {', '.join(_SPLIT_NAMES)}") from None


def is_split(name: str) -> bool:
    """Whether a folder's name says that it holds a split."""
    return name in _SPLIT_NAMES
