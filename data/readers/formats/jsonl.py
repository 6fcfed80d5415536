"""JSON Lines: one object per line, a row per image."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.lines import lines
from data.readers.paths import ImageRoot, parent
from data.readers.problems import Problems
from data.readers.record import Record
from data.readers.rows import Numbered, RowReader
from data.readers.source import file_name, located, opened
from run.errors import UserError


def read(config: SourceConfig, labels: LabelSet | None, store: Path) -> Iterator[Record]:
    """Every object of the file.

    Raises:
        UserError: the file cannot be read, or lines are wrong; they are named.
    """
    uri = located(config)
    yield from read_objects(uri, file_name(uri), config, labels, store)


def read_objects(
    uri: str, name: str, config: SourceConfig, labels: LabelSet | None, store: Path, split: str | None = None
) -> Iterator[Record]:
    """Every object of one file; ``split`` is for those that name none.

    Raises:
        UserError: the file cannot be read, or lines are wrong; they are named.
    """
    reader = RowReader(config, labels, ImageRoot(config, parent(uri)), store, split)
    problems = Problems(uri)
    with opened(uri) as path:
        yield from problems.each(objects_of(path, name, problems), reader.record)
    problems.raise_any("no rows: the file is empty")


def objects_of(path: Path, name: str, problems: Problems) -> Iterator[Numbered]:
    """The object on every line that is not blank; lines that hold none are noted."""
    try:
        for number, line in enumerate(lines(path, name), start=1):
            if line.strip():
                where = f"{name}, line {number}"
                try:
                    yield where, parsed(line, where)
                except UserError as error:
                    problems.add(str(error))
    except UserError as error:  # not UTF-8: what follows cannot be told into lines with any trust
        problems.add(str(error))


def parsed(text: str, where: str) -> dict[str, Any]:
    """One JSON object.

    Raises:
        UserError: it is no JSON, no object, or names a key twice.
    """
    try:
        value = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f'{where}: a JSON object is needed, like {{"image": …}}, not {type(value).__name__}')
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError(f"a key stands there twice: {', '.join(key for key, _ in pairs)}")
    return values
