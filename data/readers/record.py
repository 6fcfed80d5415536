"""Records, one per image: what every reader gives before any byte of an image is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from data.labels import LabelSet
from data.readers.images import ImageRoot
from data.readers.source import Source, split_named
from data.readers.targets import Answer
from data.storage import shown


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
    """Shared with others that must stay in this image's split, if the source says."""
    metadata: tuple[tuple[str, str], ...] | None = None
    """Names and values of the columns that verification slices by; null where there are none."""
    where: str
    """The place in the source, for messages: ``labels.csv, line 3``."""
    address: str | None = None
    """What the source calls the image, where that says more than its path: rows of one file that differ here are two
    images, of which one is not there."""
    recased: bool = False
    """The image's path differs from what the source calls it in case."""
    looked_in: str | None = None
    """The places that a format has for its images, where the image may be in none of them; for messages."""
    fingerprint: str | None = None
    """Of a file in a store, where a listing of its folder has said it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One image in the source's own words; names that the record has too mean the same."""

    where: str
    image: object
    """The image, as ``ImageRoot.locate`` takes it."""
    answer: Callable[[LabelSet], Answer | None]
    """Reads the labels, where they count; null where nobody has labeled the image."""
    split: object = None
    """The source's name of the split; empty leaves it open."""
    group: object = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    """Every column that the source has beside the image."""
    places: tuple[str, ...] | None = ("",)
    """Folders below the image root where the format may have put the image; null where ``image`` is the URI of a file
    that a walk has just met."""
    address: str | None = None
    looked_in: str | None = None
    fingerprint: str | None = None


class Converter:
    """Makes records of entries: in one place, for every format, what splits, groups and missing labels mean.

    Args:
        root: where its images lie.
        split: the source's name of the split of entries that name none.
    """

    def __init__(self, source: Source, root: ImageRoot, split: str | None = None) -> None:
        self._labels = source.labels
        self._met = source.met
        self._leave_out = set(source.config.leave_out)
        self._unlabeled = set(source.config.unlabeled_splits)
        self._metadata = source.metadata
        self._root = root
        self._split = split

    def record(self, entry: Entry) -> Record | None:
        """The record of an entry; null where its split is left out.

        Raises:
            UserError: the split, the labels or the image are wrong.
        """
        split = None
        answer = None
        if self._labels is not None:
            named = _text(entry.split) or self._split
            self._met.add(named or "")
            if named in self._leave_out:
                return None
            if named:
                split = "unlabeled" if named in self._unlabeled else split_named(named, entry.where)
            # What is in the pool may have a label that is none of ours, or an empty one.
            answer = entry.answer(self._labels) if split != "unlabeled" else None
            split = split if answer else "unlabeled"
        found = self._root.locate(entry.image, entry.where, entry.places)
        return Record(
            uri=found.uri,
            target=answer.target if answer else None,
            votes=answer.votes if answer else None,
            split=split,
            group=_text(entry.group) or None,
            metadata=self._values(entry.metadata) or None,
            where=entry.where,
            address=entry.address or found.address,
            recased=found.recased,
            looked_in=entry.looked_in,
            fingerprint=entry.fingerprint,
        )

    def _values(self, cells: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
        """The columns that are wanted, but for empty cells."""
        return tuple((name, text) for name in self._metadata if (text := _text(cells.get(name)).strip()))


def _text(value: object) -> str:
    return "" if value is None or value != value else shown(str(value))  # NaN is what pandas writes for nothing
