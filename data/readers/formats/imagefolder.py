"""An ``imagefolder`` with a metadata file: a table beside the images whose ``file_name`` column names them.

It is one of the things that format ``huggingface`` reads.
"""

from collections.abc import Iterator
from pathlib import Path

from data.readers.formats import jsonl, parquet, table
from data.readers.paths import file_name
from data.readers.record import Record
from data.readers.source import LabelFile, Source

_FORMATS = {"metadata.csv": table, "metadata.jsonl": jsonl, "metadata.parquet": parquet}
NAMES = tuple(_FORMATS)
_FILE_COLUMN = "file_name"


def with_file_column(source: Source) -> Source:
    """The source of a metadata file, whose image column is ``file_name`` unless the config says otherwise."""
    return source.with_options(image_column=_FILE_COLUMN) if source.config.image_column == "image" else source


def read(source: Source, files: list[LabelFile]) -> Iterator[Record]:
    """Every row of the metadata files in a folder; folders say nothing of labels then."""
    for file in files:
        yield from _FORMATS[file_name(file.uri)].read(with_file_column(source), file)


def columns(path: Path, name: str) -> list[str]:
    """A metadata file's columns, as far as they can be read."""
    found: list[str] = _FORMATS[file_name(name)].columns(path, name)
    return found
