"""From a row of named cells to a record: what tables, Parquet and Hugging Face datasets have in common."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from data.labels import LabelSet
from data.readers import targets
from data.readers.images import ImageRoot
from data.readers.record import Converter, Entry, Record
from data.readers.source import Source
from run.errors import UserError, plural

Row = tuple[str, Mapping[str, Any]]
"""The place of a row, and its cells."""


class RowReader:
    """Converts rows by the source's config.

    Args:
        source: its config names the columns.
        root: where images lie.
        split: the split of rows that name none.

    Raises:
        UserError: the config's columns do not fit the label set.
    """

    def __init__(self, source: Source, root: ImageRoot, split: str | None = None) -> None:
        self._source = source
        self._split = split
        self._converter = Converter(source, root, split)
        config = source.config
        if source.labels is not None and config.label_columns is not None:
            _check_label_columns(source, config.label_columns, source.labels)
        if not config.label_separator.strip() and config.label_separator != "\t":
            raise UserError(f"{source.key_of('label_separator')} must be something other than spaces")

    @property
    def columns(self) -> list[str]:
        """The columns that are read, each once."""
        config = self._source.config
        wanted: list[str | None] = [config.image_column, config.group_column]
        if self._source.labels is not None:
            wanted += [*(config.label_columns or [config.label_column]), config.split_column]
        wanted += self._source.metadata
        return list(dict.fromkeys(name for name in wanted if name is not None))

    def require_columns(self, present: Sequence[str], where: str) -> list[str]:
        """Check a header; gives ``columns`` as they are written there, in their own case, with spaces around them.

        Raises:
            UserError: a column is missing, or a column that is read stands there twice.
        """
        spelled = [_spelled(name, present) for name in self.columns]
        missing = [name for name, there in zip(self.columns, spelled, strict=True) if there is None]
        if missing:
            unlabeled = self._split and self._is_label(missing)
            hint = "; data.unlabeled_splits takes a split without labels" if unlabeled else ""
            raise UserError(f"{where}: no column {_quoted(missing)}; it has {_quoted(present) or 'none'}{hint}")
        counts = Counter(present)
        twice = [name for name in self.columns if counts[name] > 1]
        if twice:
            raise UserError(f"{where}: column {', '.join(twice)} stands there more than once; rename the others")
        return [name for name in spelled if name is not None]

    def _is_label(self, columns: Iterable[str]) -> bool:
        config = self._source.config
        return set(columns) <= {config.label_column, *(config.label_columns or ())}

    def record(self, row: Row) -> Record | None:
        """The record of a row.

        Raises:
            UserError: the image, the label, the split or a number in the row is wrong.
        """
        where, cells = row
        if not all(name in cells for name in self.columns):
            spelled = {name: _spelled(name, cells) for name in self.columns}
            cells = {**cells, **{name: cells[there] for name, there in spelled.items() if there is not None}}
        absent = [name for name in self.columns if name not in cells]
        if absent:
            raise UserError(f"{where}: no {_quoted(absent)}; it has {_quoted(cells) or 'nothing'}")
        config = self._source.config

        def answer(labels: LabelSet) -> targets.Answer:
            if config.label_columns is None:
                return targets.of_cell(cells[config.label_column], labels, config, where)
            return targets.of_columns([cells[name] for name in config.label_columns], labels, config, where)

        return self._converter.record(
            Entry(
                where=where,
                image=cells[config.image_column],
                answer=answer,
                split=_cell(cells, config.split_column),
                group=_cell(cells, config.group_column),
                metadata=cells,
            )
        )


def _cell(cells: Mapping[str, Any], column: str | None) -> object:
    """The cell of a column, where one is named: pandas writes row numbers under an empty name."""
    return None if column is None else cells.get(column)


def _spelled(column: str, present: Collection[str]) -> str | None:
    """A column as it is written: with spaces around it, or in another case if it is the only one like it."""
    if column in present:
        return column
    alike = [name for name in present if name.strip() == column]
    alike = alike or [name for name in present if name.strip().casefold() == column.casefold()]
    return alike[0] if len(alike) == 1 else None


def _quoted(names: Iterable[str]) -> str:
    """Names in quotes: one may begin or end with a space."""
    return ", ".join(map(repr, names))


def _check_label_columns(source: Source, columns: Sequence[str], labels: LabelSet) -> None:
    key = source.key_of("label_columns")
    if len(columns) != len(labels):
        raise UserError(f"{key} has {plural(len(columns), 'column')} for {len(labels)} labels")
    if len(set(columns)) != len(columns):
        raise UserError(f"{key} names a column twice: {', '.join(columns)}")
    if source.config.label_columns_hold == "votes" and not labels.exclusive:
        raise UserError(
            f"{key}_hold votes does not fit labels.kind multilabel: votes do not say how many annotators were asked. "
            "Write the share who chose the label, and set label_columns_hold to probabilities."
        )
