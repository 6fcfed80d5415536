"""JSON Lines: one object per line, a row per image."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from data.readers.images import ImageRoot
from data.readers.problems import Problems
from data.readers.record import Record
from data.readers.rows import Row, RowReader
from data.readers.source import LabelFile, Source
from data.readers.text import lines
from run.errors import UserError


def read(source: Source, file: LabelFile | None = None) -> Iterator[Record]:
    """Every object of a file; null is the source itself."""
    file = file or source.file()
    reader = RowReader(source.without_labels(file.split), ImageRoot(source, file.folder), file.split)
    problems = Problems(file.uri)
    with source.opened(file) as path:
        yield from problems.each(rows(path, file.name, problems), reader.record_of)
    problems.raise_any("no rows: the file is empty")


def columns(path: Path, name: str) -> list[str]:
    """The keys of the first object, as far as there is one."""
    return [key for _, row in islice(rows(path, name, Problems(name)), 1) for key in row]


def rows(path: Path, name: str, problems: Problems) -> Iterator[Row]:
    """The object on every line that is not blank; lines that hold none are noted."""
    try:
        for number, line in enumerate(lines(path, name), start=1):
            if line.strip():
                where = f"{name}, line {number}"
                try:
                    yield where, _parsed(line, where)
                except UserError as error:
                    problems.add(str(error))
    except UserError as error:  # not UTF-8: what follows cannot be told into lines with any trust
        problems.add(str(error))


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f'{where}: a JSON object is needed, like {{"image": …}}, not {type(value).__name__}')
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Python's parser keeps the last of two equal keys without a word: a label could go unseen.
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError(f"a key stands there twice: {', '.join(key for key, _ in pairs)}")
    return values
