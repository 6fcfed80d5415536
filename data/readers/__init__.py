"""Readers: one module per format, each with ``read(config, labels, store) -> list[Record]``."""

from collections.abc import Callable
from pathlib import Path

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers import elpv, folder, huggingface, table
from data.readers.record import Record

Reader = Callable[[SourceConfig, LabelSet, Path], list[Record]]
"""The last argument is a folder for images that the source does not hold as files."""

READERS: dict[str, Reader] = {
    "folder": folder.read,
    "csv": table.read,
    "huggingface": huggingface.read,
    "elpv": elpv.read,
}
