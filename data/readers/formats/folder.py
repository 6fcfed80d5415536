"""One folder per label, or split folders with one folder per label inside."""

from collections.abc import Iterator
from typing import NamedTuple

from data.decode import FORMATS
from data.labels import LabelSet
from data.readers.images import ImageRoot
from data.readers.paths import join
from data.readers.problems import Problems
from data.readers.record import Converter, Entry, Record
from data.readers.source import Source, is_split, split_named
from data.readers.targets import Answer, one_hot
from data.storage import listing, shown
from data.walk import Walk, kind_of
from run.console import log
from run.errors import UserError, plural


class _Place(NamedTuple):
    """A folder whose images, at any depth, have one answer and split."""

    uri: str
    answer: Answer | None = None
    split: str | None = None

    def entry(self, image: str) -> Entry:
        # An address is looked up before it is taken apart, so a name with `%` or a backslash is taken as it is.
        return Entry(where=image, image=image, answer=lambda _labels: self.answer, split=self.split)


def read(source: Source) -> Iterator[Record]:
    """Every picture below the source's path; a label's pictures may lie in folders of folders.

    Without labels, and in a split folder named unlabeled, every picture at any depth counts.
    """
    root = source.uri
    problems = Problems(root)
    walk = Walk("label folders" if source.labels is not None else "folders")
    try:
        listing(root)
    except (NotADirectoryError, FileNotFoundError):
        raise UserError(f"{source.key_of('path')}: {root} is not a folder") from None
    converter = Converter(source, ImageRoot(source, root))
    layout = _Layout(source, walk, problems)
    places = [_Place(root)] if source.labels is None else layout.places(root, source.labels)
    entries = (place.entry(uri) for place in places for uri in walk.pictures(place.uri))
    yield from problems.each(entries, converter.record)
    for line in walk.lines():
        log.print(line, soft_wrap=True)
    problems.raise_any(f"no image files below this folder ({', '.join(FORMATS)})")


class _Layout:
    """Tells label folders and split folders apart."""

    def __init__(self, source: Source, walk: Walk, problems: Problems) -> None:
        self._config = source.config
        self._key = source.key_of("leave_out")
        self._walk = walk
        self._problems = problems

    def places(self, root: str, labels: LabelSet) -> list[_Place]:
        folders, files = self._inside(root)
        # A label may be called "test": only a name that is no label can be a split's.
        splits = [name for name in folders if is_split(name, labels) or name in self._config.unlabeled_splits]
        if not splits:
            return self._label_places(root, None, labels, (folders, files))
        if len(splits) < len(folders):
            others = ", ".join(name for name in folders if name not in splits)
            raise UserError(
                f"{root} has split folders beside {others}: keep either splits or labels there, or leave folders out "
                f"with {self._key}: [{others}]"
            )
        self._note_loose(root, files)
        places = []
        for name in splits:
            if name in self._config.unlabeled_splits or split_named(name, root) == "unlabeled":
                places.append(_Place(join(root, name), split="unlabeled"))
            else:
                places += self._label_places(join(root, name), name, labels)
        return places

    def _label_places(
        self, folder: str, split: str | None, labels: LabelSet, seen: tuple[list[str], list[str]] | None = None
    ) -> list[_Place]:
        names, files = seen or self._inside(folder)  # looking twice would count what is passed over twice
        self._note_loose(folder, files)
        places = []
        for name in names:
            uri = join(folder, name)
            remedy = (
                f"Rename the folder, add it to labels.names, or if it is no label, leave it out with {self._key}: "
                f"[{name}]. Split folders are called train, val, calibration, test or unlabeled."
            )
            try:
                label = labels.index(name, shown(uri), remedy)
            except UserError as error:
                self._problems.add(str(error))
            else:
                places.append(_Place(uri, Answer(one_hot(label, len(labels))), split))
        return places

    def _inside(self, folder: str) -> tuple[list[str], list[str]]:
        folders, files = self._walk.inside(folder)
        return [name for name in folders if name not in self._config.leave_out], files

    def _note_loose(self, folder: str, files: list[str]) -> None:
        loose = [name for name in files if kind_of(join(folder, name)) == "picture"]
        if loose:
            others = f" and {plural(len(loose) - 1, 'other image')} lie" if len(loose) > 1 else " lies"
            self._problems.add(f"{shown(join(folder, loose[0]))}{others} in no label folder: move them, or remove them")
