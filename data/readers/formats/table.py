"""CSV and TSV: a header, then a row per image."""

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from data.readers.images import ImageRoot
from data.readers.problems import Problems
from data.readers.record import Record
from data.readers.rows import Row, RowReader
from data.readers.source import LabelFile, Source
from data.readers.text import lines
from run.errors import UserError, plural

_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_FORMATS = {",": "csv", "\t": "tsv"}


def read(source: Source, file: LabelFile | None = None, separator: str = ",") -> Iterator[Record]:
    """Every row of a file; null is the source itself."""
    file = file or source.file()
    reader = RowReader(source.without_labels(file.split), ImageRoot(source, file.folder), file.split)
    problems = Problems(file.uri)
    with source.opened(file) as path:
        table = Table(path, file.name, separator, problems)
        header = table.header(", ".join(reader.columns))
        try:
            reader.require_columns(header, file.name)
        except UserError as error:
            raise UserError(f"{error}{table.hint(header)}") from None
        yield from problems.each(table.rows(header), reader.record_of)
    problems.raise_any("no rows below the header")


def columns(path: Path, name: str, separator: str = ",") -> list[str]:
    """The header, as far as there is one."""
    return next(Table(path, name, separator, Problems(name)).lines, (0, []))[1]


class Table:
    """A table that is read once, from its header down."""

    def __init__(self, path: Path, name: str, separator: str, problems: Problems) -> None:
        self._name = name
        self._separator = separator
        self._problems = problems
        self._strip = False
        self.lines = self._lines(path)
        """The number of each line that is not blank, as an editor shows it, and its cells."""

    def header(self, needed: str) -> list[str]:
        """The first line.

        Raises:
            UserError: there is none; the message says what is ``needed``.
        """
        _, header = next(self.lines, (0, []))
        if not header:
            self._problems.raise_any()  # why there is no header says more than that there is none
            raise UserError(f"{self._name} is empty: it needs a header with {needed}")
        self._strip = any(cell != cell.strip() for cell in header)
        return [cell.strip() for cell in header]

    def rows(self, header: list[str]) -> Iterator[Row]:
        """The rows below the header; lines that do not fit it are noted."""
        for line, cells in self.lines:
            where = f"{self._name}, line {line}"
            if len(cells) == len(header):
                # Who writes spaces after the header's commas writes them in every row.
                yield where, dict(zip(header, map(str.strip, cells) if self._strip else cells, strict=True))
            else:
                has = f"{plural(len(cells), 'cell')}, but the header has {plural(len(header), 'column')}"
                self._problems.add(f"{where}: {has}{self.hint(cells)}")

    def hint(self, cells: list[str]) -> str:
        """Advice, where one long cell holds another separator."""
        other = max(_SEPARATORS, key=cells[0].count)
        if len(cells) > 1 or other == self._separator or other not in cells[0]:
            return ""
        advice = (
            f"set format to {_FORMATS[other]}" if other in _FORMATS else "save it with commas, or tabs and format tsv"
        )
        return f". It looks separated by {_SEPARATORS[other]}, not {_SEPARATORS[self._separator]}: {advice}"

    def _lines(self, path: Path) -> Iterator[tuple[int, list[str]]]:
        text = lines(path, self._name)
        start = 1
        try:
            first = next(text, "")
            # Without this, a quotation mark after the space opens no quoted cell.
            spaced = f"{self._separator} " in first
            table = csv.reader(chain([first], text), delimiter=self._separator, strict=True, skipinitialspace=spaced)
            for cells in table:
                if cells:
                    yield start, cells
                start = table.line_num + 1  # a quoted cell may hold line breaks
        except csv.Error as error:
            problem = f"not readable as a table ({error}); is a quotation mark left open?"
            self._problems.add(f"{self._name}, line {start}: {problem}")
        except UserError as error:
            self._problems.add(str(error))
