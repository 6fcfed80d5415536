"""COCO's JSON: the categories of an image's annotations are its labels."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from data.readers import targets
from data.readers.images import ImageRoot
from data.readers.problems import Problems
from data.readers.record import Converter, Entry, Record
from data.readers.source import Source
from data.readers.text import json_value
from run.errors import UserError

FILE = "_annotations.coco.json"
"""Roboflow's name for it in each split folder."""


def read(source: Source) -> Iterator[Record]:
    """Every entry of ``images``.

    Categories go by name; their numbers need no order. In a single-label set an image has exactly one distinct
    category; in a multilabel set it may have several, or none.
    """
    problems = Problems(source.uri)
    for file in source.files(FILE):
        known = source.without_labels(file.split)
        converter = Converter(known, ImageRoot(source, file.folder), file.split)
        with source.opened(file) as path:
            value = json_value(path, file.name)
        yield from problems.each(_entries(value, file.name, known, problems), converter.record)
    problems.raise_any("no images")


def _entries(value: Any, name: str, source: Source, problems: Problems) -> Iterator[Entry]:
    if not isinstance(value, dict) or not isinstance(value.get("images"), list):
        raise UserError(f"{name} is no COCO file: it needs an object with images, annotations and categories")
    images = _by_id(value, "images", name, problems)
    chosen = _categories(value, images, name, problems) if source.labels is not None else {}
    for image_id, image in images.items():
        where = f"{name}, image {image_id}"
        yield Entry(
            where=where,
            image=image.get("file_name"),
            answer=partial(targets.of_objects, chosen.get(image_id, []), where),
            cells=image,
        )


def _categories(
    value: Mapping[str, Any], images: Mapping[Any, object], name: str, problems: Problems
) -> dict[Any, list[str]]:
    """The names of the categories in each image's annotations, by image id."""
    categories = _by_id(value, "categories", name, problems)
    chosen: dict[Any, list[str]] = {}
    for annotation in value.get("annotations") or []:
        ids = (annotation.get("image_id"), annotation.get("category_id")) if isinstance(annotation, dict) else ()
        if not ids or not all(isinstance(number, int | str) for number in ids) or ids[0] not in images:
            problems.add(f"{name}: an annotation names no image that is there: {annotation!r:.120}")
        elif ids[1] not in categories:
            problems.add(f"{name}: an annotation names no category that is there: {annotation!r:.120}")
        else:
            chosen.setdefault(ids[0], []).append(str(categories[ids[1]].get("name")))
    return chosen


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
