"""CVAT for images 1.1: the tags of an image are its labels."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from data.readers import targets
from data.readers.images import ImageRoot
from data.readers.problems import Problems
from data.readers.record import Converter, Entry, Record
from data.readers.source import Source, is_split
from data.readers.text import MOST_LINE
from run.errors import UserError, above

_CHUNK = 1 << 16
_MOST_TAGS = 10_000
"""Of one image."""


def read(source: Source) -> Iterator[Record]:
    """Every ``<image>``.

    A subset that names a split gives it, or else the first folder of the image's name. In a single-label set an image
    has exactly one distinct tag; in a multilabel set it may have several, or none. Shapes are left alone.
    """
    file = source.file()
    problems = Problems(file.uri)
    converter = Converter(source, ImageRoot(source, file.folder))
    with source.opened(file) as path:
        yield from problems.each(_Document(file.name, source).entries(path), converter.record)
    problems.raise_any("no images")


class _Document:
    """A file that is read once."""

    def __init__(self, name: str, source: Source) -> None:
        self._name = name
        self._source = source
        self._depth = 0
        self._done: list[Entry] = []
        self._image: dict[str, str] | None = None
        self._tags: list[str] = []
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        # Entities that name entities fill the memory, and external ones read files of this machine.
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.EntityDeclHandler = self._refuse

    def entries(self, path: Path) -> Iterator[Entry]:
        """The images in the file's order; one chunk of it is held at a time."""
        with path.open("rb") as file:
            try:
                while chunk := file.read(_CHUNK):
                    self._parser.Parse(chunk, False)
                    # The parser holds a tag that has no end yet.
                    if file.tell() - self._parser.CurrentByteIndex > MOST_LINE:
                        place = f"{self._name}, line {self._parser.CurrentLineNumber}"
                        raise UserError(above(place, "a tag", MOST_LINE))
                    yield from self._done
                    self._done.clear()
                self._parser.Parse(b"", True)
            except expat.ExpatError as error:
                raise UserError(f"{self._name} is no XML that can be read: {error}") from None
        yield from self._done

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1 and element != "annotations":
            raise UserError(f"{self._name} is no CVAT file: it starts with <{element}>, not <annotations>")
        if element == "track":
            raise UserError(f"{self._name} is CVAT for video; export the task as CVAT for images 1.1")
        if element == "image":
            self._image = attributes
            self._tags = []
        elif element == "tag" and self._image is not None:
            self._tags.append(attributes.get("label", ""))
            if len(self._tags) > _MOST_TAGS:
                where = f"{self._name}, image {self._image.get('id', '?')}"
                raise UserError(above(where, "the number of its tags", _MOST_TAGS, "tags"))

    def _end(self, element: str) -> None:
        self._depth -= 1
        if element == "image" and self._image is not None:
            self._done.append(self._entry(self._image))
            self._image = None

    def _entry(self, image: dict[str, str]) -> Entry:
        where = f"{self._name}, image {image.get('id', '?')}"
        name = image.get("name", "")
        subset = image.get("subset", "")
        root = self._source.config.image_root
        # A task's archive has `images/NAME`, a project's `images/SUBSET/NAME`. `image_root` may be the archive, or the
        # folder `images` inside it.
        inner = [f"images/{subset}", *([subset] if root else [])] if subset else []
        looked_in = [*(f"in {place}" for place in (*inner, "images")), f"in {root}" if root else f"beside {self._name}"]
        return Entry(
            where=where,
            image=name,
            answer=partial(targets.of_objects, self._tags, where),
            split=self._split(name, subset),
            places=(*inner, "images", ""),
            # Two tasks may have an image of one name each.
            address="/".join([subset, image.get("task_id", ""), name]),
            looked_in=f"{name} is neither {', nor '.join(looked_in)}",
        )

    def _split(self, name: str, subset: str) -> str:
        """The subset where it names a split, or else the first folder of the image's name, unless that is a label."""
        source = self._source
        source.met.add(subset)
        if subset in source.chosen or is_split(subset):
            return subset
        folder, slash, _ = name.partition("/")
        return folder if slash and (source.split_folders([folder]) or folder in source.chosen) else ""

    def _refuse(self, *_declaration: object) -> NoReturn:
        raise UserError(f"{self._name} declares a document type or entities; CVAT writes none, so it is not read")
