"""A Hugging Face dataset: a Hub id, a ``save_to_disk`` folder, an ``imagefolder`` with metadata, or one in memory."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.formats import imagefolder
from data.readers.images import ImageRoot
from data.readers.problems import Problems
from data.readers.record import Record
from data.readers.rows import Row, RowReader
from data.readers.source import Source, split_named
from data.storage import is_remote, listing
from run.errors import UserError

_SHARD = re.compile(r"[\w.-]+-\d{5}-of-\d{5}(-[0-9a-f]+)?\.parquet")
"""What ``push_to_hub`` calls its files."""
SAVED = ("dataset_dict.json", "state.json")
"""A folder with one of these was written by ``save_to_disk``."""


def read(source: Source) -> Iterator[Record]:
    """Every row of every split; images held inside the dataset are written to the source's store under their digest."""
    local = source.uri
    path = source.config.path
    is_folder = Path(local).is_dir() or is_remote(local)
    if is_folder and not is_downloaded(local) and set(SAVED).isdisjoint(listing(local)[1]):
        files = source.files_inside(imagefolder.NAMES)
        if not files:
            raise UserError(
                f"{source.key_of('path')}: no dataset could be loaded from {path!r}: it has no {' or '.join(SAVED)} "
                f"(what save_to_disk writes) and no {', '.join(imagefolder.NAMES)}. Label folders are "
                f"{source.key_of('format')} folder."
            )
        yield from imagefolder.read(source, files)
        return
    found = _loaded(source)
    root = ImageRoot(source, local)
    if not is_folder:
        import datasets
        from huggingface_hub import constants

        name, _, revision = path.partition("@")
        if not revision:
            source.revisions.update(_commit(found, name))
        # What was downloaded may name no file of this machine but what was downloaded with it.
        own = downloaded(name, Path(constants.HF_HUB_CACHE))
        unpacked = unpacked_from(own, Path(datasets.config.EXTRACTED_DATASETS_PATH))
        root = ImageRoot(source, str(own), also=unpacked)
    yield from _records(found, path, source, root)


def first_rows(source: Source, count: int, image: object) -> dict[str, list[Any]]:
    """By column, the cells of a dataset's first rows, each image as ``image``; classes by name.

    Raises:
        UserError: no dataset could be loaded.
    """
    import datasets

    found = _loaded(source)
    part = next(iter(found.values())) if isinstance(found, datasets.DatasetDict) else found
    held = [name for name, feature in part.features.items() if isinstance(feature, datasets.Image)]
    plain = part.with_format(None).remove_columns(held)
    names = {name: _naming(feature) for name, feature in plain.features.items()}
    cells = {name: list(map(names[name], column)) for name, column in plain[:count].items()}
    return {**{name: [image] for name in held}, **cells}


def is_downloaded(folder: str) -> bool:
    """True for a folder of this machine with the files of a data set on the Hub: Parquet, there or in ``data``."""
    if is_remote(folder) or not Path(folder).is_dir():
        return False
    places = (Path(folder), Path(folder) / "data")
    return any(_SHARD.fullmatch(path.name) for place in places if place.is_dir() for path in place.iterdir())


def records_of(dataset: Any, config: SourceConfig, labels: LabelSet | None, store: Path) -> Iterator[Record]:
    """Every row of a dataset in memory; the config says which columns count, its path is not read.

    Args:
        dataset: a ``datasets.Dataset``, or a ``DatasetDict`` whose keys name splits.
        config: ``image_root`` is where relative image paths start (the working folder by default).
        labels: the run's label set; null for images without labels.
        store: folder for images that the dataset holds inside.

    Raises:
        UserError: a column, a label or an image is wrong.
    """
    source = Source(config, labels, store)
    with source.names_met():
        yield from _records(dataset, "dataset", source, ImageRoot(source, str(Path.cwd()), limited=False))


def downloaded(name: str, cache: Path) -> Path:
    """The folder in the Hub's cache that one data set, and nothing else, is downloaded to."""
    return cache / f"datasets--{name.replace('/', '--')}"


def unpacked_from(own: Path, unpacked: Path) -> list[str]:
    """The folders that ``datasets`` unpacks the archives in a folder to: it names each by its archive's path."""
    archives = (path for path in own.glob("snapshots/*/**/*") if not path.is_dir())
    folders = (unpacked / hashlib.sha256(os.path.abspath(path).encode()).hexdigest() for path in archives)  # noqa: PTH100
    return [str(folder) for folder in folders if folder.is_dir()]


def _commit(dataset: Any, name: str) -> dict[str, str]:
    """By the data set's name, the commit in the addresses of the files that were downloaded; none where none has."""
    import datasets

    parts = dataset.values() if isinstance(dataset, datasets.DatasetDict) else [dataset]
    addresses = " ".join(address for part in parts for address in part.info.download_checksums or ())
    found = re.search(rf"hf://datasets/{re.escape(name)}@([0-9a-f]{{40}})/", addresses)
    return {name: found[1]} if found else {}


def _records(dataset: Any, name: str, source: Source, root: ImageRoot) -> Iterator[Record]:
    import datasets

    parts = dict(dataset) if isinstance(dataset, datasets.DatasetDict) else {None: dataset}
    source.met.update(str(key or "") for key in parts)
    problems = Problems(name)
    for key, part in parts.items():
        where = f"{name}, split {key}" if key else name
        # `datasets` calls everything "train" where a source has no splits.
        named = source.labels is not None and key is not None and list(parts) != ["train"]
        if key in source.config.leave_out:
            continue
        known = source.without_labels(str(key)) if key else source
        if named and known.labels is not None:
            split_named(str(key), where)  # said once, not for each row
        reader = RowReader(known, root, str(key) if named else None)
        columns = reader.require_columns(part.column_names, where)
        _require_images(part.features[columns[0]], columns[0], where)
        yield from problems.each(_rows(part, columns, columns[0], where), reader.record_of)
    problems.raise_any("no rows")


def _require_images(feature: Any, column: str, where: str) -> None:
    import datasets

    kinds = ("string", "large_string", "int32", "int64")  # ids too
    if not (isinstance(feature, datasets.Image) or getattr(feature, "dtype", None) in kinds):
        raise UserError(f"{where}: column {column} holds no images but {feature}")


def _rows(part: Any, columns: list[str], image_column: str, where: str) -> Iterator[Row]:
    import datasets

    part = part.with_format(None).select_columns(columns)
    if not getattr(part.features[image_column], "dtype", "").startswith("int"):
        part = part.cast_column(image_column, datasets.Image(decode=False))
    names = {name: _naming(feature) for name, feature in part.features.items()}
    for number, row in enumerate(part):
        yield f"{where}, row {number}", {name: names[name](cell) for name, cell in row.items()}


def _naming(feature: Any) -> Callable[[Any], Any]:
    """A function that turns a column's numbers into names, where the column has names."""
    import datasets

    inner = getattr(feature, "feature", None)
    if inner is not None and not isinstance(inner, Mapping):
        each = _naming(inner)
        return lambda cell: cell if cell is None else [each(item) for item in cell]
    if not isinstance(feature, datasets.ClassLabel):
        return lambda cell: cell
    return lambda cell: None if cell is None or cell == -1 else feature.int2str(cell)


def _loaded(source: Source) -> Any:
    """The dataset that was saved in a folder or downloaded to it, or that an id on the Hub names."""
    import datasets

    local = source.uri
    try:
        if is_downloaded(local):
            return datasets.load_dataset(local)
        if Path(local).is_dir() or is_remote(local):
            return datasets.load_from_disk(local)
        # Only an id has a revision: a folder's name may hold an "@".
        name, _, revision = source.config.path.partition("@")
        return datasets.load_dataset(name, revision=revision or None)
    except (OSError, ValueError, RuntimeError) as error:
        what = f"no dataset could be loaded from {source.config.path!r}"
        raise UserError(f"{source.key_of('path')}: {what}: {error}") from error
