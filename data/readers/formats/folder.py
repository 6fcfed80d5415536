"""One folder per label, or split folders with one folder per label inside."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.paths import ImageRoot, join
from data.readers.problems import Problems
from data.readers.record import SUFFIXES, Record, is_split, one_hot, split_named
from data.readers.source import located
from data.storage import is_remote, listing
from run.errors import UserError


class _Place(NamedTuple):
    """A folder whose images, at any depth, have one target and split."""

    uri: str
    target: tuple[float, ...] | None
    split: str | None


def read(config: SourceConfig, labels: LabelSet | None, store: Path) -> Iterator[Record]:
    """Every image below ``config.path``; a label's images may lie in folders of folders.

    Without labels, and in a split folder named unlabeled, every image at any depth counts.

    Raises:
        UserError: no such folder, no images, a folder that is no label, or labels and splits side by side.
    """
    root = located(config)
    problems = Problems(root)
    try:
        folders, files = listing(root)
    except (NotADirectoryError, FileNotFoundError):
        raise UserError(f"data.path: {root} is not a folder") from None
    except OSError as error:
        raise UserError(f"data.path: {error}") from error
    limits = ImageRoot(config, root)

    def convert(found: tuple[_Place, str]) -> Record:
        place, uri = found
        return Record(uri=limits.locate(uri, uri), target=place.target, split=place.split, where=uri)

    places = _places(root, folders, files, labels, problems)
    yield from problems.each(((place, uri) for place in places for uri in _images(place.uri)), convert)
    problems.raise_any(f"no image files below this folder ({', '.join(sorted(SUFFIXES))})")


def _places(
    root: str, folders: Sequence[str], files: Sequence[str], labels: LabelSet | None, problems: Problems
) -> list[_Place]:
    if labels is None:
        return [_Place(root, None, None)]
    splits = [name for name in folders if is_split(name) and name not in labels.names]
    if splits and len(splits) < len(folders):
        others = [name for name in folders if name not in splits]
        raise UserError(f"{root} has split folders beside {', '.join(others)}: keep either splits or labels there")
    if not splits:
        return _label_places(root, folders, files, None, labels, problems)
    _note_loose(root, files, problems)
    places = []
    for name in splits:
        split, folder = split_named(name, root), join(root, name)
        if split == "unlabeled":
            places.append(_Place(folder, None, split))
        else:
            places += _label_places(folder, *listing(folder), split, labels, problems)
    return places


def _label_places(
    folder: str, names: Sequence[str], files: Sequence[str], split: str | None, labels: LabelSet, problems: Problems
) -> list[_Place]:
    _note_loose(folder, files, problems)
    places = []
    for name in names:
        uri = join(folder, name)
        try:
            places.append(_Place(uri, one_hot(labels.index(name, uri), len(labels)), split))
        except UserError as error:
            problems.add(str(error))
    return places


def _note_loose(folder: str, files: Sequence[str], problems: Problems) -> None:
    loose = [name for name in files if _is_image(name)]
    if loose:
        others = f" and {len(loose) - 1} other images lie" if len(loose) > 1 else " lies"
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
