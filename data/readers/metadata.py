"""An ``imagefolder`` with a metadata file: a table beside the images whose ``file_name`` column names them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.formats import jsonl, parquet, table
from data.readers.paths import join
from data.readers.record import Record, is_split, split_named
from data.readers.source import place_name
from data.storage import listing
from run.errors import UserError

NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_FILE_COLUMN = "file_name"


def metadata_files(folder: str) -> list[tuple[str, str | None]]:
    """The metadata file of a folder, or of each of its split folders with that split's name.

    Raises:
        UserError: two metadata files would say something of one folder.
    """
    folders, files = listing(folder)
    found = {folder: [name for name in files if name in NAMES]}
    for name in folders:
        if is_split(name):
            found[join(folder, name)] = [file for file in listing(join(folder, name))[1] if file in NAMES]
    inner = {place: names for place, names in found.items() if names and place != folder}
    for place, names in found.items():
        if len(names) > 1 or (names and inner and place == folder):
            others = [*names[1:], *(join(inside, file) for inside, files in inner.items() for file in files)]
            raise UserError(
                f"data.path: {place} has {names[0]} and {', '.join(others)}: set data.path to the one to read"
            )
    places = inner or {folder: found[folder]}
    return [
        (join(place, name), split_named(place.rsplit("/", 1)[1], place) if place != folder else None)
        for place, names in places.items()
        for name in names
    ]


def with_file_column(config: SourceConfig) -> SourceConfig:
    """The config for a metadata file, whose image column is ``file_name`` unless it says otherwise."""
    return replace(config, image_column=_FILE_COLUMN) if config.image_column == "image" else config


def read(folder: str, config: SourceConfig, labels: LabelSet | None, store: Path) -> Iterator[Record]:
    """Every row of the metadata files in a folder; folders say nothing of labels then.

    Raises:
        UserError: rows are wrong, or the files contradict each other.
    """
    config = with_file_column(config)
    for uri, split in metadata_files(folder):
        name = place_name(uri, folder)
        if uri.endswith(".csv"):
            yield from table.read_table(uri, name, config, labels, store, split=split)
        elif uri.endswith(".jsonl"):
            yield from jsonl.read_objects(uri, name, config, labels, store, split)
        else:
            yield from parquet.read_rows(uri, name, config, labels, store, split)
