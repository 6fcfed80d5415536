"""From a row of named cells to a record: what tables, Parquet and Hugging Face datasets have in common."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers import targets
from data.readers.paths import ImageRoot
from data.readers.record import Record, split_named
from run.errors import UserError
from run.files import atomic_path

Numbered = tuple[str, Mapping[str, Any]]
"""Where a row stands, and its cells."""


class RowReader:
    """Converts rows by the source's config.

    Args:
        config: names the columns.
        labels: the label set; null leaves labels and splits alone.
        root: where images lie.
        store: folder for images that the rows hold themselves.
        split: the split of rows that name none.

    Raises:
        UserError: the config's columns do not fit the label set.
    """

    def __init__(
        self, config: SourceConfig, labels: LabelSet | None, root: ImageRoot, store: Path, split: str | None = None
    ) -> None:
        self._config = config
        self._labels = labels
        self._root = root
        self._store = store
        self._split = split if labels is not None else None
        if labels is not None and config.label_columns is not None:
            _check_label_columns(config.label_columns, config.label_columns_hold, labels)
        if not config.label_separator.strip() and config.label_separator != "\t":
            raise UserError("data.label_separator must be something other than spaces")

    @property
    def columns(self) -> list[str]:
        """The columns that are read, each once."""
        config = self._config
        wanted: list[str | None] = [config.image_column, config.group_column]
        if self._labels is not None:
            wanted += [*(config.label_columns or [config.label_column]), config.split_column]
        return list(dict.fromkeys(name for name in wanted if name is not None))

    def require_columns(self, present: Sequence[str], where: str) -> None:
        """Check a header.

        Raises:
            UserError: a column is missing, or a column that is read stands there twice.
        """
        missing = [name for name in self.columns if name not in present]
        if missing:
            raise UserError(f"{where}: no column {', '.join(missing)}; it has {', '.join(present) or 'none'}")
        counts = Counter(present)
        twice = [name for name in self.columns if counts[name] > 1]
        if twice:
            raise UserError(f"{where}: column {', '.join(twice)} stands there more than once; rename the others")

    def record(self, row: Numbered) -> Record:
        """The record of a row.

        Raises:
            UserError: the image, the label, the split or a number in the row is wrong.
        """
        where, cells = row
        absent = [name for name in self.columns if name not in cells]
        if absent:
            raise UserError(f"{where}: no {', '.join(absent)}; it has {', '.join(cells) or 'nothing'}")
        config, split = self._config, self._split
        if self._labels is not None and config.split_column and _text(cells[config.split_column]):
            split = split_named(_text(cells[config.split_column]), where)
        target, votes = self._target(cells, where) if split != "unlabeled" else (None, None)
        group = _text(cells[config.group_column]) if config.group_column else ""
        uri = self._image(cells[config.image_column], where)
        return Record(uri=uri, target=target, votes=votes, split=split, group=group or None, where=where)

    def _target(self, cells: Mapping[str, Any], where: str) -> tuple[targets.Target | None, tuple[float, ...] | None]:
        config, labels = self._config, self._labels
        if labels is None:
            return None, None
        if config.label_columns is None:
            return targets.of_cell(cells[config.label_column], labels, config, where), None
        return targets.of_columns([cells[name] for name in config.label_columns], labels, config, where)

    def _image(self, cell: object, where: str) -> str:
        """A cell is a path, bytes, or both the way ``datasets`` writes them into Parquet."""
        data = cell.get("bytes") if isinstance(cell, Mapping) else cell
        if isinstance(data, bytes):
            return stored(data, self._store)
        name = cell.get("path") if isinstance(cell, Mapping) else cell
        if name is None:
            raise UserError(f"{where}: no image")
        return self._root.locate(name, where)


def stored(data: bytes, store: Path) -> str:
    """Write an image into ``store`` under its digest, unless it is there; its path."""
    path = store.absolute() / hashlib.sha256(data).hexdigest()
    if not path.is_file():
        with atomic_path(path) as partial:
            partial.write_bytes(data)
    return str(path)


def _check_label_columns(columns: Sequence[str], hold: str, labels: LabelSet) -> None:
    if len(columns) != len(labels):
        raise UserError(f"data.label_columns has {len(columns)} columns for {len(labels)} labels")
    if len(set(columns)) != len(columns):
        raise UserError(f"data.label_columns names a column twice: {', '.join(columns)}")
    if hold == "votes" and labels.kind == "multilabel":
        raise UserError(
            "data.label_columns_hold votes does not fit labels.kind multilabel: they do not say how many annotators "
            "were asked. Write the share who chose the label, and set label_columns_hold to probabilities."
        )


def _text(cell: object) -> str:
    return "" if cell is None or cell != cell else str(cell)  # NaN is what pandas writes for nothing
