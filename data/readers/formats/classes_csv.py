"""Roboflow's ``_classes.csv``: ``filename``, then a column of 0 and 1 per label."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.formats.table import cells_of
from data.readers.paths import ImageRoot, parent
from data.readers.problems import Problems
from data.readers.record import Record
from data.readers.rows import Numbered, RowReader
from data.readers.source import located, opened, parts_of, place_name
from run.errors import UserError

FILE = "_classes.csv"
_IMAGE_COLUMN = "filename"


def read(config: SourceConfig, labels: LabelSet | None, store: Path) -> Iterator[Record]:
    """Every row of one file, or of the file in each split folder; labels go by the header's names.

    Raises:
        UserError: a file cannot be read, its header is not the label set, or rows are wrong; lines are named.
    """
    source = located(config)
    problems = Problems(source)
    for uri, split in parts_of(source, FILE):
        name = place_name(uri, source)
        with opened(uri) as path:
            rows = cells_of(path, name, ",", problems)
            header = [cell.strip() for cell in next(rows, (0, []))[1]]
            if not header:
                problems.raise_any()
                raise UserError(f"{name} is empty: it needs a header like filename, a, b")
            reader = RowReader(_columns(config, labels), labels, ImageRoot(config, parent(uri)), store, split)
            _require_labels(header, labels, reader, name)
            yield from problems.each(_named(rows, header, name, problems), reader.record)
    problems.raise_any("no rows below the header")


def _columns(config: SourceConfig, labels: LabelSet | None) -> SourceConfig:
    names = list(labels.names) if labels is not None else None
    return replace(
        config,
        image_column=_IMAGE_COLUMN,
        label_columns=names,
        label_columns_hold="flags",
        split_column=None,
        group_column=None,
    )


def _require_labels(header: list[str], labels: LabelSet | None, reader: RowReader, name: str) -> None:
    if labels is not None:
        for column in header:
            if column != _IMAGE_COLUMN:
                labels.index(column, f"{name}, header")
    reader.require_columns(header, name)


def _named(
    rows: Iterator[tuple[int, list[str]]], header: list[str], name: str, problems: Problems
) -> Iterator[Numbered]:
    for line, cells in rows:
        if len(cells) == len(header):
            values = [cell.strip() for cell in cells]  # the export puts a space after each comma
            yield f"{name}, line {line}", dict(zip(header, values, strict=True))
        else:
            problems.add(
                f"{name}, line {line}: not as many cells ({len(cells)}) as the header has columns ({len(header)})"
            )
