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
    layout = _Layout(source, file.name)
    with source.opened(file) as path:
        yield from problems.each(_entries(path, file.name, layout), converter.record)
    problems.raise_any("no images")


class _Layout:
    """Folders in which CVAT's archives have their images, and what tells two of one name apart.

    A task's archive has ``images/NAME``, a project's ``images/SUBSET/NAME``.
    """

    def __init__(self, source: Source, name: str) -> None:
        self._source = source
        self._root = source.config.image_root
        self._name = name

    def places(self, subset: str) -> tuple[str, ...]:
        inner = [f"images/{subset}"] if subset else []
        # `image_root` may be the archive, or the folder `images` inside it.
        given = [subset] if subset and self._root else []
        return (*inner, *given, "images", "")

    def split(self, image: dict[str, str]) -> str:
        """The subset where it names a split, or else the first folder of the image's name, unless that is a label."""
        *folders, _ = image.get("name", "").split("/")
        subset = image.get("subset", "")
        self._source.met.add(subset)
        if subset in self._source.chosen or is_split(subset):
            return subset
        return next(iter(self._source.split_folders(folders[:1]) or self._source.chosen & set(folders[:1])), "")

    def looked_in(self, image: str, subset: str) -> str:
        end = f"in {self._root}" if self._root else f"beside {self._name}"
        *places, last = *(f"in {place}" for place in self.places(subset) if place), end
        return f"{image} is neither {', nor '.join([*places, last])}"


def _entries(path: Path, name: str, layout: _Layout) -> Iterator[Entry]:
    """The images in the file's order; one chunk of it is held at a time."""
    document = _Document(name, layout)
    with path.open("rb") as file:
        try:
            while chunk := file.read(_CHUNK):
                document.parser.Parse(chunk, False)
                # The parser holds a tag that has no end yet.
                if file.tell() - document.parser.CurrentByteIndex > MOST_LINE:
                    raise UserError(above(f"{name}, line {document.parser.CurrentLineNumber}", "a tag", MOST_LINE))
                yield from document.taken()
            document.parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise UserError(f"{name} is no XML that can be read: {error}") from None
    yield from document.taken()


class _Document:
    """Collects the images that a parser has passed."""

    def __init__(self, name: str, layout: _Layout) -> None:
        self._name = name
        self._layout = layout
        self._depth = 0
        self._done: list[Entry] = []
        self._image: dict[str, str] | None = None
        self._tags: list[str] = []
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        # Entities that name entities fill the memory, and external ones read files of this machine.
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse

    def taken(self) -> list[Entry]:
        """The images since the last call."""
        done = self._done
        self._done = []
        return done

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
            where = f"{self._name}, image {self._image.get('id', '?')}"
            answer = partial(targets.of_objects, self._tags, where)
            image = self._image.get("name", "")
            subset = self._image.get("subset", "")
            self._done.append(
                Entry(
                    where=where,
                    image=image,
                    answer=answer,
                    split=self._layout.split(self._image),
                    places=self._layout.places(subset),
                    # Two tasks may have an image of one name each.
                    address="/".join([subset, self._image.get("task_id", ""), image]),
                    looked_in=self._layout.looked_in(image, subset),
                )
            )
            self._image = None

    def _refuse(self, *_declaration: object) -> NoReturn:
        raise UserError(f"{self._name} declares a document type or entities; CVAT writes none, so it is not read")
