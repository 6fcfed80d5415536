"""Roboflow's ``_classes.csv``: ``filename``, then a column of 0 and 1 per label."""

from collections.abc import Iterator

from data.labels import LabelSet
from data.readers.formats.table import Table
from data.readers.images import ImageRoot
from data.readers.problems import Problems
from data.readers.record import Record
from data.readers.rows import RowReader
from data.readers.source import Source

FILE = "_classes.csv"
_IMAGE_COLUMN = "filename"


def read(source: Source) -> Iterator[Record]:
    """Every row of one file, or of the file in each split folder; labels go by the header's names."""
    problems = Problems(source.uri)
    columns = source.with_options(
        image_column=_IMAGE_COLUMN,
        label_columns=list(source.labels.names) if source.labels is not None else None,
        label_columns_hold="flags",
        split_column=None,
        group_column=None,
    )
    for file in source.files(FILE):
        known = columns.without_labels(file.split)
        reader = RowReader(known, ImageRoot(source, file.folder), file.split)
        with source.opened(file) as path:
            table = Table(path, file.name, ",", problems)
            header = table.header("filename and a column per label")
            _require_labels(header, known.labels, file.name)
            reader.require_columns(header, file.name)
            yield from problems.each(table.rows(header), reader.record_of)
    problems.raise_any("no rows below the header")


def _require_labels(header: list[str], labels: LabelSet | None, name: str) -> None:
    for column in header:
        if labels is not None and column != _IMAGE_COLUMN:
            labels.index(column, f"{name}, header")
