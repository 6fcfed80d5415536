"""One folder per label, or split folders with one folder per label inside."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from data import storage
from data.decode import FORMATS
from data.labels import LabelSet
from data.readers.images import ImageRoot
from data.readers.problems import Problems
from data.readers.record import Converter, Entry, Record
from data.readers.source import Source, is_split
from data.readers.targets import Answer, one_hot
from data.storage import join, listing, shown
from data.walk import Picture, Walk, kind_of
from run.console import log
from run.errors import UserError, plural, quoted


class _Place(NamedTuple):
    """A folder whose images, at any depth, have one answer and split."""

    uri: str
    answer: Answer | None = None
    split: str = ""

    def entry(self, picture: Picture) -> Entry:
        return Entry(
            where=shown(picture.uri),
            image=picture.uri,
            answer=lambda _labels: self.answer,
            split=self.split,
            places=None,
            fingerprint=picture.fingerprint,
        )


def read(source: Source) -> Iterator[Record]:
    """Every picture below the source's path; a label's pictures may lie in folders of folders.

    Without labels, and in a split folder named unlabeled, every picture at any depth counts.
    """
    root = source.uri
    problems = Problems(root)
    walk = Walk("label folders" if source.labels is not None else "folders", source.config.leave_out, source.met)
    try:
        listing(root)
    except (NotADirectoryError, FileNotFoundError):
        raise UserError(f"{source.key_of('path')}: {quoted(root)} is not a folder") from None
    converter = Converter(source, ImageRoot(source, root))
    labels = source.labels
    places = [_Place(root)] if labels is None else _Layout(source, walk, problems, labels).places(root)
    entries = (place.entry(picture) for place in places for picture in walk.pictures(place.uri))
    yield from problems.each(entries, converter.record)
    for line in walk.lines():
        log.print(line, soft_wrap=True)
    problems.raise_any(f"no image files below this folder ({', '.join(FORMATS)})")


@dataclass(frozen=True)
class _Layout:
    """Tells label folders and split folders apart."""

    source: Source
    walk: Walk
    problems: Problems
    labels: LabelSet

    def places(self, root: str) -> list[_Place]:
        folders, files = self.walk.inside(root)
        splits = self.source.split_folders(folders)
        self._require_labels_or_splits(root, [name for name in folders if name not in splits])
        if not splits:
            return self._label_places(root, "", folders, files)
        if len(splits) < len(folders):
            self.problems.raise_any()  # what may be a split must not be left out as a label
            others = ", ".join(name for name in folders if name not in splits)
            raise UserError(
                f"{quoted(root)} has split folders beside {others}: keep either splits or labels there, or leave "
                f"folders out with {self.source.key_of('leave_out')}: [{others}]"
            )
        self._note_loose(root, files)
        places = []
        for name in splits:
            if self.source.without_labels(name).labels is None:
                places.append(_Place(join(root, name), split=name))
            else:
                inside = self.walk.inside(join(root, name))
                places += self._label_places(join(root, name), name, *inside)
        return places

    def _label_places(self, folder: str, split: str, names: list[str], files: list[storage.Entry]) -> list[_Place]:
        self._note_loose(folder, files)
        places = []
        for name in names:
            uri = join(folder, name)
            remedy = (
                "Rename the folder, add it to labels.names, or if it is no label, leave it out with "
                f"{self.source.key_of('leave_out')}: [{name}]. Split folders are called train, val, calibration, test "
                "or unlabeled."
            )
            try:
                label = self.labels.index(name, shown(uri), remedy)
            except UserError as error:
                self.problems.add(str(error))
            else:
                places.append(_Place(uri, Answer(one_hot(label, len(self.labels))), split))
        return places

    def _require_labels_or_splits(self, root: str, folders: list[str]) -> None:
        """Ask where a folder's name is a label and a split, and labels are inside it too: either would be a guess."""
        for name in filter(is_split, folders):
            inner = [inside for inside in listing(join(root, name))[0] if self.labels.resembles(inside)]
            if inner:
                self.problems.add(
                    f"{shown(join(root, name))}: {name!r} is a label and names a split, and has label folders inside "
                    f"({', '.join(inner)}): if it is the split, rename it {name}_split, or else move them"
                )

    def _note_loose(self, folder: str, files: list[storage.Entry]) -> None:
        loose = [file.name for file in files if kind_of(join(folder, file.name)) == "picture"]
        if loose:
            others = f" and {plural(len(loose) - 1, 'other image')} lie" if len(loose) > 1 else " lies"
            self.problems.add(f"{shown(join(folder, loose[0]))}{others} in no label folder: move them, or remove them")
