"""Readers: one module per format, each with ``read(config, labels, store)``, an iterator of records."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers import auto
from data.readers.formats import classes_csv, coco, cvat, elpv, folder, huggingface, jsonl, label_studio, parquet, table
from data.readers.record import Record
from run.errors import UserError

Reader = Callable[[SourceConfig, LabelSet | None, Path], Iterator[Record]]
"""Labels are null where only images matter; the last argument is a folder for images that are no files in the source.

Records come one at a time. What is wrong with the source is collected and raised, as one ``UserError``, after the last
record that is right.
"""

READERS: dict[str, Reader] = {
    "folder": folder.read,
    "csv": table.read,
    "tsv": table.read,
    "jsonl": jsonl.read,
    "parquet": parquet.read,
    "huggingface": huggingface.read,
    "label_studio": label_studio.read,
    "cvat": cvat.read,
    "coco": coco.read,
    "classes_csv": classes_csv.read,
    "elpv": elpv.read,
}

_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|rar|7z|gz|bz2|xz|zst)$", re.IGNORECASE)


def read(config: SourceConfig, labels: LabelSet | None, store: Path) -> Iterator[Record]:
    """Every record of a source, whatever its format; images are not looked at.

    Args:
        config: the source.
        labels: the run's label set; null for a pool of unlabeled images.
        store: folder for images that are no files in the source, written under their digest.

    Raises:
        UserError: the source is wrong; the first problems are listed and the rest are counted.
    """
    if _ARCHIVE.search(config.path) and config.format != "elpv":
        raise UserError(f"data.path: {config.path} is packed: unpack it first, and give the folder or file inside")
    try:
        if config.format == "auto":
            config = auto.resolved(config, labels)
        yield from READERS[config.format](config, labels, store)
    except OSError as error:
        raise UserError(f"data.path: {error}") from error
