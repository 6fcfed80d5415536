"""The table of formats. A new one is a module here, a row of the table, and its name in ``data.config.Format``."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data.config import Format
from data.readers.formats import (
    classes_csv,
    coco,
    cvat,
    elpv,
    folder,
    huggingface,
    imagefolder,
    jsonl,
    label_studio,
    parquet,
    table,
)
from data.readers.record import Record
from data.readers.source import Source


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One format: the function that reads it, and the signs that ``format: auto`` knows it by."""

    read: Callable[[Source], Iterator[Record]]
    """Gives its records one at a time; what is wrong with the source is raised after the last record that is right, as
    one ``UserError`` that names the lines or ids."""
    suffixes: tuple[str, ...] = ()
    """Endings of its label files."""
    file_names: tuple[str, ...] = ()
    """Names of its label files by which a folder is known to be such an export."""
    columns: Callable[[Path, str], list[str]] | None = None
    """A label file's columns, as far as they can be read, from its path and its name in messages; null where every file
    of the format gives labels."""


READERS: dict[Format, Reader] = {
    "folder": Reader(read=folder.read),
    "csv": Reader(read=table.read, suffixes=(".csv",), columns=table.columns),
    "tsv": Reader(
        read=partial(table.read, separator="\t"),
        suffixes=(".tsv", ".tab"),
        columns=partial(table.columns, separator="\t"),
    ),
    "jsonl": Reader(read=jsonl.read, suffixes=(".jsonl", ".ndjson"), columns=jsonl.columns),
    "parquet": Reader(read=parquet.read, suffixes=(".parquet",), columns=parquet.columns),
    "huggingface": Reader(read=huggingface.read, file_names=imagefolder.NAMES, columns=imagefolder.columns),
    "label_studio": Reader(read=label_studio.read),
    "cvat": Reader(read=cvat.read, suffixes=(".xml",)),
    "coco": Reader(read=coco.read, file_names=(coco.FILE,)),
    "classes_csv": Reader(read=classes_csv.read, file_names=(classes_csv.FILE,)),
    "elpv": Reader(read=elpv.read),
}
