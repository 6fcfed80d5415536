"""The audit: what was found in the images and labels, for people to read before they train on them.

``audit.json`` is this tree as it is; what does not apply is left out. ``data.examine`` makes it, ``data.remarks`` shows
it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from data.bounds import images_needed, most_exceptions
from data.config import how_to_enlarge
from run.errors import UserError, plural
from run.files import write_json

FORMAT = 3

FEW_GROUPS = 50
"""With fewer groups than this, a share of a tenth may well come out empty."""


@dataclass(frozen=True)
class Promise:
    """The agreement that verification will ask the test split to show."""

    agreement: float
    confidence: float

    @property
    def images(self) -> int:
        """The number of test images that show it if student and teacher never differ."""
        return images_needed(1 - self.agreement, self.confidence)

    def may_differ(self, images: int) -> int | None:
        """The number of so many test images on which the two may differ; null where even none would be too many."""
        most = most_exceptions(images, 1 - self.agreement, 1 - self.confidence)
        return most if most >= 0 else None


@dataclass(frozen=True)
class Refusal:
    """An image that takes no part."""

    uri: str
    reason: str


@dataclass(frozen=True)
class Refusals:
    """Images that take no part for the same kind of reason."""

    images: int
    examples: Sequence[Refusal]


@dataclass(frozen=True)
class Member:
    """An image of a cluster."""

    uri: str
    split: str


@dataclass(frozen=True)
class Clusters:
    """Images that look the same, or nearly."""

    images: int
    clusters: int
    crossing_splits: int
    """Clusters with images in several splits; they come first among the examples."""
    examples: Sequence[Sequence[Member]]


@dataclass(frozen=True)
class Examples:
    """Images with something in common, some of them by their URI."""

    images: int
    examples: Sequence[str]


@dataclass(frozen=True)
class SmallClass:
    """A label with few images in a split that needs more."""

    label: str
    split: str
    images: int


@dataclass(frozen=True)
class VotesOfImage:
    """An image that annotators disagree on."""

    uri: str
    votes: Mapping[str, float]
    """By label."""


@dataclass(frozen=True)
class Votes:
    """Disagreement among annotators."""

    images: int
    """Those with votes."""
    disagree: int | None = None
    most: Sequence[VotesOfImage] | None = None
    """Those that annotators disagree on most."""


@dataclass(frozen=True)
class Range:
    """A distribution in short."""

    least: int
    median: float
    most: int


@dataclass(frozen=True)
class CommonSize:
    """A size in pixels that many images have."""

    width: int
    height: int
    images: int


@dataclass(frozen=True)
class TellingSize:
    """A label whose images come in sizes of their own."""

    label: str
    cramers_v: float


@dataclass(frozen=True)
class Sizes:
    """The images' sizes in pixels."""

    shorter_side: Range
    distinct: int
    common: Sequence[CommonSize]
    extreme_aspect: Examples
    tiny: Examples
    tell_labels: Sequence[TellingSize]


@dataclass(frozen=True)
class SampleSize:
    """The number of test images beside what verification will ask."""

    images: int
    """One of each group counts."""
    agreement: float | None = None
    confidence: float | None = None
    needed: int | None = None
    """As ``Promise.images``."""
    may_differ: int | None = None
    """As ``Promise.may_differ``, of ``images``."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Everything worth knowing about a manifest."""

    format: int
    rows: int
    images: Mapping[str, Mapping[str, int]]
    """Images with one true label, by split and label; those of a multilabel set count for each of theirs."""
    totals: Mapping[str, int]
    """Images, by split."""
    refused: Refusals
    """Files that do not decode; all are listed."""
    duplicates: Refusals
    near_duplicates_of_held_out: Refusals
    conflicts: Refusals
    torn: Refusals
    same_picture: Clusters
    near_duplicates: Clusters
    leakage: Examples
    """Images whose duplicates the source gives to another split."""
    small_classes: Sequence[SmallClass]
    votes: Votes
    tied: Mapping[str, int]
    """Labeled images whose votes, or probabilities, tie, by split: no label of theirs is the true one."""
    sizes: Sizes | None
    """Null where no image takes part."""
    test: SampleSize
    revisions: Mapping[str, str] = field(default_factory=dict)
    """By data set of the Hub, the commit that was read where the config pins none."""

    @classmethod
    def read(cls, path: Path) -> "Audit":
        """Read what ``write`` wrote."""
        return TypeAdapter(cls).validate_json(path.read_bytes())

    def write(self, path: Path) -> None:
        """Write JSON, atomically."""
        write_json(path, TypeAdapter(type(self)).dump_python(self, exclude_none=True))

    def require_images(self, group_column: str | None = None, groups: int = 0) -> None:
        """Refuse a split without images and a label without training images.

        Args:
            groups: the number of groups, where there is a ``data.group_column``.
        """
        for split in ("train", "val", "calibration", "test"):
            if not self.totals[split] and group_column is not None and groups < FEW_GROUPS:
                raise UserError(
                    f"the {split} split has no images: data.group_column {group_column} and equal pictures make "
                    f"{plural(groups, 'group')} of the images, and each stays in one split, so that none may fall to "
                    "a split. Name a column with more different values, or give the splits with data.split_column."
                )
            if not self.totals[split]:
                raise UserError(f"the {split} split has no images: add images, or {how_to_enlarge(split)}")
        empty = [label for label, images in self.images["train"].items() if not images]
        if empty:
            raise UserError(
                f"no training images for {', '.join(empty)}: add some, or take the label out of labels.names"
            )
