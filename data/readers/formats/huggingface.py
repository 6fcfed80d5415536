"""A Hugging Face dataset: a Hub id, a ``save_to_disk`` folder, an ``imagefolder`` with metadata, or one in memory."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers import metadata
from data.readers.paths import ImageRoot
from data.readers.problems import Problems
from data.readers.record import Record, split_named
from data.readers.rows import Numbered, RowReader
from data.readers.source import located
from data.storage import is_remote, listing
from run.errors import UserError

SAVED = ("dataset_dict.json", "state.json")
"""A folder with one of these was written by ``save_to_disk``."""


def read(config: SourceConfig, labels: LabelSet | None, store: Path) -> Iterator[Record]:
    """Every row of every split; images held inside the dataset are written to ``store`` under their digest.

    Raises:
        UserError: the dataset cannot be had, or a column, a label or an image is wrong.
    """
    import datasets

    local = located(config)
    if Path(local).is_dir() or is_remote(local):
        if set(SAVED).isdisjoint(listing(local)[1]):
            if not metadata.metadata_files(local):
                raise UserError(
                    f"data.path: no dataset could be loaded from {config.path!r}: it has no {' or '.join(SAVED)} (what "
                    f"save_to_disk writes) and no {', '.join(metadata.NAMES)}. Label folders are data.format folder."
                )
            yield from metadata.read(local, config, labels, store)
            return
        found = _loaded(config.path, lambda: datasets.load_from_disk(local))
        root = ImageRoot(config, local)
    else:
        found = _loaded(config.path, lambda: datasets.load_dataset(config.path))
        # What was downloaded may name no file of this machine, unless it was downloaded too.
        root = ImageRoot(config, str(datasets.config.HF_CACHE_HOME))
    yield from _records(found, config.path, config, labels, store, root)


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
    root = ImageRoot(config, str(Path.cwd()), limited=False)
    yield from _records(dataset, "dataset", config, labels, store, root)


def _records(
    dataset: Any, name: str, config: SourceConfig, labels: LabelSet | None, store: Path, root: ImageRoot
) -> Iterator[Record]:
    import datasets

    parts = dict(dataset) if isinstance(dataset, datasets.DatasetDict) else {None: dataset}
    problems = Problems(name)
    for key, part in parts.items():
        where = f"{name}, split {key}" if key else name
        # `datasets` calls everything "train" where a source has no splits.
        said = labels is not None and key is not None and list(parts) != ["train"]
        given = split_named(str(key), where) if said else None
        reader = RowReader(config, labels, root, store, given)
        reader.require_columns(part.column_names, where)
        _require_images(part.features[config.image_column], config.image_column, where)
        yield from problems.each(_rows(part, reader.columns, config.image_column, where), reader.record)
    problems.raise_any("no rows")


def _require_images(feature: Any, column: str, where: str) -> None:
    import datasets

    if not (isinstance(feature, datasets.Image) or getattr(feature, "dtype", None) in ("string", "large_string")):
        raise UserError(f"{where}: column {column} holds no images but {feature}")


def _rows(part: Any, columns: list[str], image_column: str, where: str) -> Iterator[Numbered]:
    import datasets

    part = part.with_format(None).select_columns(columns).cast_column(image_column, datasets.Image(decode=False))
    names = {name: _naming(feature) for name, feature in part.features.items()}
    for number, row in enumerate(part):
        yield f"{where}, row {number}", {name: names[name](cell) for name, cell in row.items()}


def _naming(feature: Any) -> Callable[[Any], Any]:
    """What turns a column's numbers into names, where the column has names."""
    import datasets

    inner = getattr(feature, "feature", None)
    if inner is not None and not isinstance(inner, Mapping):
        each = _naming(inner)
        return lambda cell: cell if cell is None else [each(item) for item in cell]
    if not isinstance(feature, datasets.ClassLabel):
        return lambda cell: cell
    return lambda cell: None if cell is None or cell == -1 else feature.int2str(cell)


def _loaded(path: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"data.path: no dataset could be loaded from {path!r}: {error}") from error
