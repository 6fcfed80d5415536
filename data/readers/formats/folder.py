"""One folder per label, or split folders with one folder per label inside."""

import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from data.decode import SUFFIXES
from data.labels import LabelSet
from data.readers.images import ImageRoot
from data.readers.paths import join
from data.readers.problems import Problems
from data.readers.record import Converter, Entry, Record
from data.readers.source import Source, is_split, split_named
from data.readers.targets import Answer, one_hot
from data.storage import is_remote, listing
from run.errors import UserError, plural


class _Place(NamedTuple):
    """A folder whose images, at any depth, have one answer and split."""

    uri: str
    answer: Answer | None = None
    split: str | None = None

    def entry(self, image: str) -> Entry:
        return Entry(where=image, image=image, answer=lambda _labels: self.answer, split=self.split)


def read(source: Source) -> Iterator[Record]:
    """Every image below the source's path; a label's images may lie in folders of folders.

    Without labels, and in a split folder named unlabeled, every image at any depth counts.
    """
    root = source.uri
    problems = Problems(root)
    try:
        listing(root)
    except (NotADirectoryError, FileNotFoundError):
        raise UserError(f"{source.key_of('path')}: {root} is not a folder") from None
    converter = Converter(source, ImageRoot(source, root))
    places = [_Place(root)] if source.labels is None else _places(root, source.labels, problems)
    entries = (place.entry(uri) for place in places for uri in _images(place.uri))
    yield from problems.each(entries, converter.record)
    problems.raise_any(f"no image files below this folder ({', '.join(sorted(SUFFIXES))})")


def _places(root: str, labels: LabelSet, problems: Problems) -> list[_Place]:
    folders, files = listing(root)
    # A label may be called "test": only a name that is no label can be a split's.
    splits = [name for name in folders if is_split(name) and name not in labels.names]
    if not splits:
        return _label_places(root, None, labels, problems)
    if len(splits) < len(folders):
        others = [name for name in folders if name not in splits]
        raise UserError(f"{root} has split folders beside {', '.join(others)}: keep either splits or labels there")
    _note_loose(root, files, problems)
    places = []
    for name in splits:
        if split_named(name, root) == "unlabeled":
            places.append(_Place(join(root, name), split=name))
        else:
            places += _label_places(join(root, name), name, labels, problems)
    return places


def _label_places(folder: str, split: str | None, labels: LabelSet, problems: Problems) -> list[_Place]:
    names, files = listing(folder)
    _note_loose(folder, files, problems)
    places = []
    for name in names:
        uri = join(folder, name)
        try:
            places.append(_Place(uri, Answer(one_hot(labels.index(name, uri), len(labels))), split))
        except UserError as error:
            problems.add(str(error))
    return places


def _note_loose(folder: str, files: list[str], problems: Problems) -> None:
    loose = [name for name in files if _is_image(name)]
    if loose:
        others = f" and {plural(len(loose) - 1, 'other image')} lie" if len(loose) > 1 else " lies"
        problems.add(f"{join(folder, loose[0])}{others} in no label folder: move them, or remove them")


def _images(folder: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Image files at any depth; a linked folder is followed, but not into itself."""
    real = folder if is_remote(folder) else os.path.realpath(folder)
    if real in above:
        return
    names, files = listing(folder)
    yield from (join(folder, name) for name in files if _is_image(name))
    for name in names:
        yield from _images(join(folder, name), (*above, real))


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES
