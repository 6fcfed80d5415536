"""Looks at what lies at a path: its format, labels, splits and sizes, with the readers that will read it."""

import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from data.config import Kind, SourceConfig
from data.labels import LabelSet
from data.listing import collect
from data.readers import auto, read
from data.readers.formats import classes_csv
from data.readers.formats.table import columns as table_columns
from data.readers.record import Record
from data.readers.source import Source, is_split
from data.storage import is_folder, is_remote, join, listing
from data.walk import Walk
from run.errors import UserError, plural, quoted
from start.columns import choose_columns

MOST_LABELS = 512
"""More distinct names than this are ids, not labels."""
SIZED = 500
"""Images whose size is looked up."""

OUTPUTS = "outputs"
"""The folder of all runs, unless another is asked for."""

_TABLES = ("csv", "tsv", "jsonl", "parquet", "huggingface")
_HOLDERS = ("images", "image", "imgs", "img", "photos", "pictures", "data")
"""Names of folders that hold images beside a label file, and are no labels."""


@dataclass(frozen=True)
class Found:
    """The contents of a source."""

    config: SourceConfig
    images: Mapping[str, int]
    """By label, in the order in which the source names them."""
    exclusive: bool
    """Every image has exactly one label."""
    splits: Mapping[str, int]
    """Images by split, where the source gives splits; ``unlabeled`` among them."""
    total: int
    short_side: int | None
    """Median of the shorter sides in pixels; null where no image could be looked at."""
    reasons: Sequence[str]
    """Why columns are taken for what they are."""


class _Met(LabelSet):
    """A label set that takes every name it is asked about: a reader that is given one lists a source's labels."""

    def __init__(self, kind: Kind, names: Sequence[str] = ()) -> None:
        super().__init__(tuple(names), kind)

    def index(self, name: str, where: str, remedy: str = "") -> int:
        """Position of ``name``, which is taken in where it is new."""
        name = unicodedata.normalize("NFC", name)
        if name not in self.names:
            if len(self.names) == MOST_LABELS:
                raise UserError(f"{where}: more than {MOST_LABELS} different labels: these are no labels but ids")
            object.__setattr__(self, "names", (*self.names, name))
        return self.names.index(name)

    def __len__(self) -> int:
        return MOST_LABELS  # of every target: they have to be of one length while names are still to come


def look(given: SourceConfig) -> Found:
    """Everything that a config has to say of a source, of which the user has given the path and some keys.

    Raises:
        UserError: nothing that can be read is there, what labels are is not clear, or the source has mistakes.
    """
    with tempfile.TemporaryDirectory(prefix="pocketeva-") as store:
        # Runs are written to this folder, and must not become a label.
        here = not is_remote(given.path) and Path(given.path).resolve() == Path.cwd()
        own = {*given.leave_out, *([OUTPUTS] if here else [])}
        folders = [name for name in _label_folders(given.path) if name not in own] if given.format == "auto" else []
        source = Source(given, LabelSet(tuple(folders), "nominal"), Path(store))
        if given.format == "auto":
            source = auto.resolved(source)
            if source.config.format == "folder":
                _require_folders(source, folders)
        if source.config.format == "folder":
            source = source.with_options(leave_out=sorted(own))
        reasons: list[str] = []
        if source.config.format in _TABLES:
            source, kind, names, reasons = choose_columns(source, given)
            labels = LabelSet(names, kind) if source.config.label_columns else _Met(kind, names)
        elif source.config.format == "classes_csv":
            labels = LabelSet(_flagged(source), "multilabel")
        else:
            # A multilabel set takes any number of labels, so that the reader refuses none.
            labels = _Met("nominal" if source.config.format == "folder" else "multilabel")
        return _found(replace(source, labels=labels), reasons)


def _found(source: Source, reasons: Sequence[str]) -> Found:
    labels = source.labels
    assert labels is not None
    counts: Counter[int] = Counter()
    splits: Counter[str] = Counter()
    exclusive = True

    def counted(records: Iterator[Record]) -> Iterator[Record]:
        nonlocal exclusive
        for record in records:
            splits[record.split or ""] += 1
            if record.target is not None:
                likely = [index for index, share in enumerate(record.target) if share >= 0.5]
                exclusive = exclusive and abs(sum(record.target) - 1) < 1e-6
                counts.update(likely)
            # Targets of hundreds of numbers each would fill the memory of a large source.
            yield replace(record, target=None, votes=None)

    uris = collect(counted(read(source))).column("uri").to_pylist()
    names = {name: counts[index] for index, name in enumerate(labels.names)}
    return Found(
        config=source.config,
        images=names,
        exclusive=exclusive,
        splits=dict(splits) if set(splits) - {"", "unlabeled"} else {},
        total=sum(splits.values()),
        short_side=_short_side(uris),
        reasons=reasons,
    )


def _label_folders(path: str) -> list[str]:
    """Names of the folders that may be labels, here or in split folders; none where they only hold images."""
    if not path or is_remote(path) or not is_folder(path):
        return []
    walk = Walk()
    folders = walk.inside(path)[0]
    splits = [name for name in folders if is_split(name)]
    inner = [name for split in splits for name in walk.inside(join(path, split))[0]]
    names = sorted(set(inner if splits else folders))
    return [] if all(name.casefold() in _HOLDERS for name in names) else names


def _require_folders(source: Source, folders: Sequence[str]) -> None:
    """Refuse a folder that has neither two label folders nor a label file."""
    if len(folders) >= 2 or is_remote(source.uri):
        return
    tables = [name for name in listing(source.uri)[1] if Path(name).suffix.lower() in (".csv", ".tsv", ".json")]
    files = f" Or give the label file itself: {', '.join(tables[:5])}." if tables else ""
    only = f"only one folder, {folders[0]}" if folders else "no folders"
    raise UserError(
        f"{quoted(source.uri)} has {only} to take labels from: put the images into one folder per label, or give a "
        f"table with an image and a label on each line.{files}"
    )


def _flagged(source: Source) -> tuple[str, ...]:
    """The labels of Roboflow's ``_classes.csv``: its columns but the first."""
    file = source.files(classes_csv.FILE)[0]
    with source.opened(file) as path:
        return tuple(name.strip() for name in table_columns(path, file.name))[1:]


def _short_side(uris: Sequence[str]) -> int | None:
    sides = []
    for uri in uris[:: max(1, len(uris) // SIZED)]:
        # Whether images can be read is for `prepare` to say.
        with suppress(OSError, ValueError, Image.DecompressionBombError), Image.open(uri) as image:
            sides.append(min(image.size))
    return int(np.median(sides)) if sides else None


def require_tidy(found: Found) -> None:
    """Refuse labels that are one but for case and spaces, one with a space around it, and fewer than two."""
    if len(found.images) < 2:
        only = ", ".join(found.images) or "none"
        raise UserError(f"{quoted(found.config.path)}: two labels or more are needed, there is {only}")
    spaced = next((name for name in found.images if name != name.strip()), None)
    by_form: dict[str, list[str]] = {}
    for name in found.images:
        by_form.setdefault("".join(filter(str.isalnum, name.casefold())) or name, []).append(name)
    twins = [names for names in by_form.values() if len(names) > 1]
    if twins:
        lines = "; ".join(
            " and ".join(f"{name!r} ({plural(found.images[name], 'image')})" for name in names) for names in twins
        )
        raise UserError(
            f"{quoted(found.config.path)}: labels that differ in case, spaces or signs alone would be labels of their "
            f"own: {lines}. Give them one name."
        )
    if spaced is not None:
        raise UserError(f"{quoted(found.config.path)}: the label {spaced!r} begins or ends with a space: take it away")
