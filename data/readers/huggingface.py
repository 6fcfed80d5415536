"""A Hugging Face dataset: a ``save_to_disk`` folder or a Hub id."""

import hashlib
from pathlib import Path
from typing import Any

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.record import Record, one_hot, split_named
from run.errors import UserError
from run.files import atomic_path


def read(config: SourceConfig, labels: LabelSet, store: Path) -> list[Record]:
    """Every row of every split; images held inside the dataset are written to ``store`` under their digest.

    Raises:
        UserError: the dataset cannot be had, or a column or label is missing.
    """
    import datasets

    found = _load(config.path)
    parts = dict(found) if isinstance(found, datasets.DatasetDict) else {None: found}
    records = []
    for split, part in parts.items():
        where = f"{config.path}, split {split}" if split else config.path
        missing = [name for name in (config.image_column, config.label_column) if name not in part.column_names]
        if missing:
            raise UserError(f"{where}: no column {', '.join(missing)}; it has {', '.join(part.column_names)}")
        image, feature = part.features[config.image_column], part.features[config.label_column]
        if not (isinstance(image, datasets.Image) or getattr(image, "dtype", None) == "string"):
            raise UserError(f"{where}: column {config.image_column} holds no images but {image}")
        name_of = feature.int2str if isinstance(feature, datasets.ClassLabel) else str
        rows = part.select_columns([config.image_column, config.label_column])
        for number, row in enumerate(rows.cast_column(config.image_column, datasets.Image(decode=False))):
            label = row[config.label_column]
            if label is None or label == -1:
                raise UserError(f"{where}, row {number}: no label")
            if row[config.image_column] is None:
                raise UserError(f"{where}, row {number}: no image")
            target = one_hot(labels.index(name_of(label), f"{where}, row {number}"), len(labels))
            path = _file(row[config.image_column], store)
            given = split_named(split, where) if split else None
            records.append(Record(uri=str(path.absolute()), target=target, split=given, where=f"{where}, row {number}"))
    return records


def _load(path: str) -> Any:
    import datasets

    try:
        return datasets.load_from_disk(path) if Path(path).is_dir() else datasets.load_dataset(path)
    except (OSError, ValueError) as error:
        raise UserError(f"data.path: no dataset could be loaded from {path!r}: {error}") from error


def _file(image: dict[str, Any], store: Path) -> Path:
    if image["bytes"] is None:
        return Path(image["path"])
    data: bytes = image["bytes"]
    path = store / hashlib.sha256(data).hexdigest()
    if not path.is_file():
        with atomic_path(path) as partial:
            partial.write_bytes(data)
    return path
