"""CSV and TSV: a header, then a row per image."""

import csv
from collections.abc import Iterator
from pathlib import Path

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.lines import lines
from data.readers.paths import ImageRoot, parent
from data.readers.problems import Problems
from data.readers.record import Record
from data.readers.rows import Numbered, RowReader
from data.readers.source import file_name, located, opened
from run.errors import UserError

_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_ADVICE = {",": "set data.format to csv", "\t": "set data.format to tsv"}


def read(config: SourceConfig, labels: LabelSet | None, store: Path) -> Iterator[Record]:
    """Every row of a file with commas or, for ``format: tsv``, tabs.

    Raises:
        UserError: the file cannot be read, or rows are wrong; lines are named.
    """
    uri = located(config)
    separator = "\t" if config.format == "tsv" else ","
    yield from read_table(uri, file_name(uri), config, labels, store, separator)


def read_table(
    uri: str,
    name: str,
    config: SourceConfig,
    labels: LabelSet | None,
    store: Path,
    separator: str = ",",
    split: str | None = None,
) -> Iterator[Record]:
    """Every row of one table; ``split`` is for rows that name none.

    Raises:
        UserError: the file cannot be read, or rows are wrong; lines are named.
    """
    reader = RowReader(config, labels, ImageRoot(config, parent(uri)), store, split)
    problems = Problems(uri)
    with opened(uri) as path:
        rows = cells_of(path, name, separator, problems)
        header = next(rows, None)
        if header is None:
            problems.raise_any()
            raise UserError(f"{name} is empty: it needs a header with {', '.join(reader.columns)}")
        _require_header(header[1], reader, name, separator)
        yield from problems.each(_named(rows, header[1], name, separator, problems), reader.record)
    problems.raise_any("no rows below the header")


def cells_of(path: Path, name: str, separator: str, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """The cells of every line that is not blank, with the number of the line they start on."""
    table = csv.reader(lines(path, name), delimiter=separator, strict=True)
    start = 1
    try:
        for cells in table:
            if cells:
                yield start, cells
            start = table.line_num + 1
    except csv.Error as error:
        problems.add(f"{name}, line {start}: not readable as a table ({error}); is a quotation mark left open?")
    except UserError as error:
        problems.add(str(error))


def _require_header(header: list[str], reader: RowReader, name: str, separator: str) -> None:
    try:
        reader.require_columns(header, name)
    except UserError as error:
        raise UserError(f"{error}{_other_separator(header, separator)}") from None


def _named(
    rows: Iterator[tuple[int, list[str]]], header: list[str], name: str, separator: str, problems: Problems
) -> Iterator[Numbered]:
    for line, cells in rows:
        if len(cells) == len(header):
            yield f"{name}, line {line}", dict(zip(header, cells, strict=True))
        else:
            problems.add(
                f"{name}, line {line}: not as many cells ({len(cells)}) as the header has columns ({len(header)})"
                + _other_separator(cells, separator)
            )


def _other_separator(cells: list[str], separator: str) -> str:
    """A hint, where one long cell holds another separator."""
    other = max(_SEPARATORS, key=cells[0].count)
    if len(cells) > 1 or other == separator or other not in cells[0]:
        return ""
    advice = _ADVICE.get(other, "save it with commas, or with tabs and data.format tsv")
    return f". It looks separated by {_SEPARATORS[other]}, not {_SEPARATORS[separator]}: {advice}"
