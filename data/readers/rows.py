"""From a row of named cells to a record: what tables, Parquet and Hugging Face datasets have in common."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from data.labels import LabelSet
from data.readers import targets
from data.readers.record import Converter, Entry, Record
from run.errors import UserError, plural

Row = tuple[str, Mapping[str, Any]]
"""The place of a row, and its cells."""


@dataclass(frozen=True)
class RowReader(Converter):
    """Converts rows by the columns that the source's config names.

    Raises:
        UserError: the config's columns do not fit the label set.
    """

    def __post_init__(self) -> None:
        config = self.source.config
        labels = self.source.labels
        columns = config.label_columns
        if labels is not None and columns is not None:
            key = self.source.key_of("label_columns")
            if len(columns) != len(labels):
                raise UserError(f"{key} has {plural(len(columns), 'column')} for {len(labels)} labels")
            if len(set(columns)) != len(columns):
                raise UserError(f"{key} names a column twice: {', '.join(columns)}")
            if config.label_columns_hold == "votes" and not labels.exclusive:
                raise UserError(
                    f"{key}_hold votes does not fit labels.kind multilabel: votes do not say how many annotators were "
                    "asked. Write the share who chose the label, and set label_columns_hold to probabilities."
                )
        if not config.label_separator.strip() and config.label_separator != "\t":
            raise UserError(f"{self.source.key_of('label_separator')} must be something other than spaces")

    @cached_property
    def columns(self) -> list[str]:
        """The columns that are read, each once."""
        config = self.source.config
        wanted: list[str | None] = [config.image_column, config.group_column]
        if self.source.labels is not None:
            wanted += [*(config.label_columns or [config.label_column]), config.split_column]
        wanted += self.source.metadata
        return list(dict.fromkeys(name for name in wanted if name is not None))

    def require_columns(self, present: Sequence[str], where: str) -> list[str]:
        """Check a header; gives ``columns`` as they are written there, in their own case, with spaces around them.

        Raises:
            UserError: a column is missing, or a column that is read stands there twice.
        """
        found = [spelled(name, present) for name in self.columns]
        missing = [name for name, there in zip(self.columns, found, strict=True) if there is None]
        if missing:
            of_labels = {self.source.config.label_column, *(self.source.config.label_columns or ())}
            unlabeled = self.split and of_labels.issuperset(missing)
            hint = "; data.unlabeled_splits takes a split without labels" if unlabeled else ""
            raise UserError(f"{where}: no column {_quoted(missing)}; it has {_quoted(present) or 'none'}{hint}")
        counts = Counter(present)
        twice = [name for name in self.columns if counts[name] > 1]
        if twice:
            raise UserError(f"{where}: column {', '.join(twice)} stands there more than once; rename the others")
        return [name for name in found if name is not None]

    def record_of(self, row: Row) -> Record | None:
        """As ``record``, of a row."""
        where, cells = row
        found = {name: spelled(name, cells) for name in self.columns}
        cells = {**cells, **{name: cells[there] for name, there in found.items() if there is not None}}
        absent = [name for name in self.columns if name not in cells]
        if absent:
            raise UserError(f"{where}: no {_quoted(absent)}; it has {_quoted(cells) or 'nothing'}")
        config = self.source.config

        def answer(labels: LabelSet) -> targets.Answer:
            if config.label_columns is None:
                return targets.of_cell(cells[config.label_column], labels, config, where)
            return targets.of_columns([cells[name] for name in config.label_columns], labels, config, where)

        return self.record(Entry(where=where, image=cells[config.image_column], answer=answer, cells=cells))


def spelled(column: str, present: Collection[str]) -> str | None:
    """A column as it is written: with spaces around it, or in another case if it is the only one like it."""
    if column in present:
        return column
    alike = [name for name in present if name.strip() == column]
    alike = alike or [name for name in present if name.strip().casefold() == column.casefold()]
    return alike[0] if len(alike) == 1 else None


def _quoted(names: Iterable[str]) -> str:
    """Names in quotes: one may begin or end with a space."""
    return ", ".join(map(repr, names))
