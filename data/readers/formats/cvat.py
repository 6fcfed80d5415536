"""CVAT for images 1.1: the tags of an image are its labels."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers import targets
from data.readers.paths import ImageRoot, parent
from data.readers.problems import Problems
from data.readers.record import Record, is_split, split_named
from data.readers.source import file_name, located, opened
from run.errors import UserError

_CHUNK = 1 << 16

_Image = tuple[str, Mapping[str, str], list[str]]
"""Where it stands, its attributes, its tags."""


def read(config: SourceConfig, labels: LabelSet | None, store: Path) -> Iterator[Record]:
    """Every ``<image>``.

    A subset that names a split gives it, or else the first folder of the image's name. In a single-label set an image
    has exactly one distinct tag; in a multilabel set it may have several, or none. Shapes are left alone.

    Raises:
        UserError: the file cannot be read, or images are wrong; they are named by their id.
    """
    uri = located(config)
    name = file_name(uri)
    problems = Problems(uri)
    with opened(uri) as path:
        yield from problems.each(_images(path, name), _converter(config, labels, ImageRoot(config, parent(uri))))
    problems.raise_any("no images")


def _converter(config: SourceConfig, labels: LabelSet | None, root: ImageRoot) -> Callable[[_Image], Record]:
    def convert(found: _Image) -> Record:
        where, attributes, tags = found
        image = attributes.get("name", "")
        split = _split(attributes.get("subset", ""), image, where) if labels is not None else None
        target = targets.of_names(tags, labels, where) if labels is not None and split != "unlabeled" else None
        return Record(uri=root.locate(image, where), target=target, split=split, where=where)

    return convert


def _split(subset: str, image: str, where: str) -> str | None:
    for name in (subset, image.split("/")[0] if "/" in image else ""):
        if is_split(name.lower()):
            return split_named(name.lower(), where)
    return None


def _images(path: Path, name: str) -> Iterator[_Image]:
    """The images in the file's order; one chunk of it is held at a time."""
    document = _Document(name)
    with path.open("rb") as file:
        try:
            while chunk := file.read(_CHUNK):
                document.parser.Parse(chunk, False)
                yield from document.taken()
            document.parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise UserError(f"{name} is no XML that can be read: {error}") from None
    yield from document.taken()


class _Document:
    """Collects the images that a parser has passed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._depth = 0
        self._done: list[_Image] = []
        self._image: _Image | None = None
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse

    def taken(self) -> list[_Image]:
        """The images since the last call."""
        done, self._done = self._done, []
        return done

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1 and element != "annotations":
            raise UserError(f"{self._name} is no CVAT file: it starts with <{element}>, not <annotations>")
        if element == "track":
            raise UserError(f"{self._name} is CVAT for video; export the task as CVAT for images 1.1")
        if element == "image":
            where = f"{self._name}, image {attributes.get('id', '?')}"
            self._image = (where, attributes, [])
        elif element == "tag" and self._image is not None:
            label = attributes.get("label", "")
            if label not in self._image[2]:
                self._image[2].append(label)

    def _end(self, element: str) -> None:
        self._depth -= 1
        if element == "image" and self._image is not None:
            self._done.append(self._image)
            self._image = None

    def _refuse(self, *_declaration: object) -> NoReturn:
        raise UserError(f"{self._name} declares a document type or entities; CVAT writes none, so it is not read")
