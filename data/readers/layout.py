"""What in a folder says something of labels: files, and folders named like them."""

from itertools import islice
from pathlib import PurePosixPath

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers import metadata
from data.readers.formats import classes_csv, coco, parquet
from data.readers.formats.jsonl import objects_of
from data.readers.formats.table import cells_of
from data.readers.paths import join
from data.readers.problems import Problems
from data.readers.record import is_split
from data.readers.source import opened
from data.storage import listing

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_OBJECTS = (".jsonl", ".ndjson")
_EXPORTS = (".json", ".xml")
_SUFFIXES = (*_SEPARATORS, *_OBJECTS, *_EXPORTS, ".parquet")
_IN_SPLITS = (*metadata.NAMES, classes_csv.FILE, coco.FILE)


def label_files(folder: str, config: SourceConfig) -> list[str]:
    """The files directly in a folder that give labels, and the usual label files in its split folders.

    A table gives labels if it has the config's label columns. The only one that there is counts too: reading it says
    which columns are missing.
    """
    folders, files = listing(folder)
    found = [join(folder, name) for name in files if PurePosixPath(name).suffix.lower() in _SUFFIXES]
    for split in filter(is_split, folders):
        inner = join(folder, split)
        found += [join(inner, name) for name in listing(inner)[1] if name in _IN_SPLITS]
    giving = [file for file in found if _gives_labels(file, config)]
    return giving or (found if len(found) == 1 else [])


def label_folders(folder: str, labels: LabelSet) -> list[str]:
    """Names of the folders, here or in split folders, that are labels but for case and spaces."""
    folders = listing(folder)[0]
    names = {name.casefold() for name in labels.names}
    for split in filter(is_split, list(folders)):
        folders += listing(join(folder, split))[0]
    return sorted({name for name in folders if name.strip().casefold() in names})


def _gives_labels(file: str, config: SourceConfig) -> bool:
    name = PurePosixPath(file).name
    if name == classes_csv.FILE or PurePosixPath(name).suffix.lower() in _EXPORTS:
        return True
    return set(config.label_columns or [config.label_column]) <= set(_columns(file))


def _columns(file: str) -> list[str]:
    """The header of a table, as far as it can be read."""
    suffix, ignored = PurePosixPath(file).suffix.lower(), Problems(file)
    with opened(file) as path:
        if suffix in _SEPARATORS:
            return next((cells for _, cells in cells_of(path, file, _SEPARATORS[suffix], ignored)), [])
        if suffix in _OBJECTS:
            return [key for _, row in islice(objects_of(path, file, ignored), 1) for key in row]
        return parquet.columns_of(path)
