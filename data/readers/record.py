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
    cells: Mapping[str, object] = field(default_factory=dict)
    """Every column that the source has beside the image; the config says which give split, group and metadata."""
    split: str = ""
    """The source's name of the split, where the format has a place of its own for it; empty leaves it open."""
    places: tuple[str, ...] | None = ("",)
    """Folders below the image root where the format may have put the image; null where ``image`` is the URI of a file
    that a walk has just met."""
    address: str | None = None
    looked_in: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True)
class Converter:
    """Makes records of entries: in one place, for every format, what splits, groups and missing labels mean."""

    source: Source
    root: ImageRoot
    split: str | None = None
    """The source's name of the split of entries that name none."""

    def record(self, entry: Entry) -> Record | None:
        """The record of an entry; null where its split is left out.

        Raises:
            UserError: the split, the labels or the image are wrong.
        """
        config = self.source.config
        split = None
        answer = None
        if self.source.labels is not None:
            named = shown(entry.split) or _cell(entry, config.split_column) or self.split or ""
            self.source.met.add(named)
            if named and named in config.leave_out:
                return None
            if named:
                split = "unlabeled" if named in config.unlabeled_splits else split_named(named, entry.where)
            # What is in the pool may have a label that is none of ours, or an empty one.
            answer = entry.answer(self.source.labels) if split != "unlabeled" else None
            split = split if answer else "unlabeled"
        # An empty cell is no value to slice by.
        metadata = tuple((name, text) for name in self.source.metadata if (text := _cell(entry, name).strip()))
        found = self.root.locate(entry.image, entry.where, entry.places)
        return Record(
            uri=found.uri,
            target=answer.target if answer else None,
            votes=answer.votes if answer else None,
            split=split,
            group=_cell(entry, config.group_column) or None,
            metadata=metadata or None,
            where=entry.where,
            address=entry.address or found.address,
            recased=found.recased,
            looked_in=entry.looked_in,
            fingerprint=entry.fingerprint,
        )


def _cell(entry: Entry, column: str | None) -> str:
    """The text of a cell; a column that is not named has none, though pandas writes row numbers under an empty name."""
    value = None if column is None else entry.cells.get(column)
    return "" if value is None or value != value else shown(str(value))  # NaN is what pandas writes for nothing
