"""Collected problems: everything that is wrong with a source is said at once."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from data.readers.record import Record
from run.errors import UserError, listed

_SHOWN = 10
"""Problems that are spelled out; the rest are counted."""

Row = TypeVar("Row")


class Problems:
    """Collects messages and raises them as one error; memory does not grow with their number."""

    def __init__(self, source: str) -> None:
        self.rows = 0
        self._source = source
        self._shown: list[str] = []
        self._count = 0

    def add(self, message: str) -> None:
        """Note one problem."""
        self._count += 1
        if len(self._shown) < _SHOWN:
            self._shown.append(message)

    def each(self, rows: Iterable[Row], convert: Callable[[Row], Record | None]) -> Iterator[Record]:
        """The records of those rows that convert; the errors of the others are noted."""
        for row in rows:
            self.rows += 1
            try:
                record = convert(row)
            except UserError as error:
                self.add(str(error))
            else:
                if record is not None:
                    yield record

    def raise_any(self, nothing: str = "") -> None:
        """Raise what was noted as one error; where nothing was, and no row was read at all, what ``nothing`` says."""
        if nothing and not self.rows and not self._count:
            self.add(f"{self._source}: {nothing}")
        if self._count == 1:
            raise UserError(self._shown[0])
        if self._count:
            more = f"\n  … and {self._count - _SHOWN} more" if self._count > _SHOWN else ""
            raise UserError(f"{self._source}: {self._count} problems:\n{listed(self._shown)}{more}")
