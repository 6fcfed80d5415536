"""Parquet: a row per image; the image is a path, or bytes as ``datasets`` writes them."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.readers.images import ImageRoot
from data.readers.problems import Problems
from data.readers.record import Record
from data.readers.rows import Row, RowReader
from data.readers.source import LabelFile, Source
from data.storage import MOST_BYTES
from run.errors import UserError, above

_ROWS_AT_ONCE = 1024
_IMAGES_AT_ONCE = 16


def read(source: Source, file: LabelFile | None = None) -> Iterator[Record]:
    """Every row of a file; null is the source itself."""
    file = file or source.file()
    reader = RowReader(source.without_labels(file.split), ImageRoot(source, file.folder), file.split)
    problems = Problems(file.uri)
    with source.opened(file) as path:
        try:
            with pq.ParquetFile(path) as opened:
                columns = reader.require_columns(opened.schema_arrow.names, file.name)
                rows = _rows(opened, columns, file.name)
                yield from problems.each(rows, reader.record_of)
        except pa.ArrowException as error:
            raise UserError(f"{file.name} is no Parquet file that can be read: {error}") from error
    problems.raise_any("no rows")


def columns(path: Path, name: str) -> list[str]:
    """The names of a file's columns; none where it is no Parquet file."""
    try:
        return list(pq.read_schema(path).names)
    except pa.ArrowException:
        return []


def _rows(file: pq.ParquetFile, columns: list[str], name: str) -> Iterator[Row]:
    # Rows may hold whole images, in the first column: so few at a time that they fit into memory.
    holds_bytes = not pa.types.is_string(file.schema_arrow.field(columns[0]).type)
    rows = _ROWS_AT_ONCE
    if holds_bytes:
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        if any(group.total_byte_size > MOST_BYTES * group.num_rows for group in groups):
            raise UserError(above(name, "a row", MOST_BYTES))
        # One image may be nearly all of its group.
        rows = max(1, min([_IMAGES_AT_ONCE, *(MOST_BYTES // max(1, group.total_byte_size) for group in groups)]))
    batches = file.iter_batches(batch_size=rows, columns=columns)
    for number, row in enumerate(row for batch in batches for row in batch.to_pylist()):
        yield f"{name}, row {number}", row
