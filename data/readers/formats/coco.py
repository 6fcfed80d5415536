"""COCO's JSON: the categories of an image's annotations are its labels."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers import targets
from data.readers.document import document, text_of
from data.readers.paths import ImageRoot, parent
from data.readers.problems import Problems
from data.readers.record import Record, split_named
from data.readers.source import located, parts_of, place_name
from run.errors import UserError

_Image = tuple[str, dict[str, Any], list[str]]
"""Where it stands, its entry, its categories."""

FILE = "_annotations.coco.json"
"""What Roboflow calls it in each split folder."""


def read(config: SourceConfig, labels: LabelSet | None, store: Path) -> Iterator[Record]:
    """Every entry of ``images``.

    Categories go by name; their numbers need no order. In a single-label set an image has exactly one distinct
    category; in a multilabel set it may have several, or none.

    Raises:
        UserError: the file cannot be read, or images are wrong; they are named by their id.
    """
    source = located(config)
    problems = Problems(source)
    for uri, split in parts_of(source, FILE):
        name = place_name(uri, source)
        images = _images(document(uri, name), name, labels, problems)
        yield from problems.each(images, _converter(config, labels, uri, split))
    problems.raise_any("no images")


def _converter(
    config: SourceConfig, labels: LabelSet | None, uri: str, split: str | None
) -> Callable[[_Image], Record]:
    root = ImageRoot(config, parent(uri))

    def convert(found: _Image) -> Record:
        where, image, names = found
        named = text_of(image, config.split_column)
        given = (split_named(named, where) if named else split) if labels is not None else None
        return Record(
            uri=root.locate(image.get("file_name"), where),
            target=targets.of_names(names, labels, where) if labels is not None and given != "unlabeled" else None,
            split=given,
            group=text_of(image, config.group_column) or None,
            where=where,
        )

    return convert


def _images(value: Any, name: str, labels: LabelSet | None, problems: Problems) -> Iterator[_Image]:
    if not isinstance(value, dict) or not isinstance(value.get("images"), list):
        raise UserError(f"{name} is no COCO file: it needs an object with images, annotations and categories")
    images = _by_id(value, "images", name, problems)
    categories = _by_id(value, "categories", name, problems) if labels is not None else {}
    chosen: dict[Any, list[str]] = {image_id: [] for image_id in images}
    for annotation in value.get("annotations") or [] if labels is not None else []:
        ids = (annotation.get("image_id"), annotation.get("category_id")) if isinstance(annotation, dict) else ()
        if not ids or not all(isinstance(number, int | str) for number in ids) or ids[0] not in images:
            problems.add(f"{name}: an annotation names no image that is there: {annotation!r:.120}")
        elif ids[1] not in categories:
            problems.add(f"{name}: an annotation names no category that is there: {annotation!r:.120}")
        else:
            chosen[ids[0]].append(str(categories[ids[1]].get("name")))
    for image_id, image in images.items():
        yield f"{name}, image {image_id}", image, list(dict.fromkeys(chosen[image_id]))


def _by_id(value: Mapping[str, Any], key: str, name: str, problems: Problems) -> dict[Any, dict[str, Any]]:
    items = value.get(key)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise UserError(f"{name} is no COCO file: {key} must be a list of objects")
    found: dict[Any, dict[str, Any]] = {}
    for item in items:
        number = item.get("id")
        if not isinstance(number, int | str) or number in found:
            problems.add(f"{name}: {key} has {'no id' if number is None else f'the id {number!r} twice'}")
        else:
            found[number] = item
    return found
