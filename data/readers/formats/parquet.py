"""Parquet: a row per image; the image is a path, or bytes as ``datasets`` writes them."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.paths import ImageRoot, parent
from data.readers.problems import Problems
from data.readers.record import Record
from data.readers.rows import Numbered, RowReader
from data.readers.source import file_name, located, opened
from run.errors import UserError

_ROWS_AT_ONCE = 1024
_IMAGES_AT_ONCE = 16


def read(config: SourceConfig, labels: LabelSet | None, store: Path) -> Iterator[Record]:
    """Every row of the file.

    Raises:
        UserError: the file cannot be read, or rows are wrong; they are named, counted from 0.
    """
    uri = located(config)
    yield from read_rows(uri, file_name(uri), config, labels, store)


def read_rows(
    uri: str, name: str, config: SourceConfig, labels: LabelSet | None, store: Path, split: str | None = None
) -> Iterator[Record]:
    """Every row of one file; ``split`` is for rows that name none.

    Raises:
        UserError: the file cannot be read, or rows are wrong; they are named, counted from 0.
    """
    reader = RowReader(config, labels, ImageRoot(config, parent(uri)), store, split)
    problems = Problems(uri)
    with opened(uri) as path:
        try:
            with pq.ParquetFile(path) as file:
                reader.require_columns(file.schema_arrow.names, name)
                rows = _rows(file, reader.columns, config.image_column, name)
                yield from problems.each(rows, reader.record)
        except pa.ArrowException as error:
            raise UserError(f"{name} is no Parquet file that can be read: {error}") from error
    problems.raise_any("no rows")


def columns_of(path: Path) -> list[str]:
    """The names of a file's columns; none where it is no Parquet file."""
    try:
        return list(pq.read_schema(path).names)
    except pa.ArrowException:
        return []


def _rows(file: pq.ParquetFile, columns: list[str], image_column: str, name: str) -> Iterator[Numbered]:
    holds_bytes = not pa.types.is_string(file.schema_arrow.field(image_column).type)
    number = 0
    for batch in file.iter_batches(batch_size=_IMAGES_AT_ONCE if holds_bytes else _ROWS_AT_ONCE, columns=columns):
        for row in batch.to_pylist():
            yield f"{name}, row {number}", row
            number += 1
