"""A CSV file with one row per image: a path and a label, or a path and a column of votes per label."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.record import Record, one_hot, split_named
from run.errors import UserError, listed


def read(config: SourceConfig, labels: LabelSet, store: Path) -> list[Record]:
    """Every row of ``config.path``; image paths are relative to the file.

    Raises:
        UserError: the file, a column, an image or a label is missing, or votes are no distribution; lines are named.
    """
    path = Path(config.path)
    if not path.is_file():
        raise UserError(f"data.path: {path} is not a file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = {f"line {reader.line_num}": row for row in reader}
            header = list(reader.fieldnames or [])
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path} is not a CSV file: {error}") from None
    _require_columns(path, header, config, labels)
    if not rows:
        raise UserError(f"{path} has no rows below its header")
    for line, row in rows.items():
        if None in row or None in row.values():
            raise UserError(f"{path}, {line}: not as many cells as the header has columns ({len(header)})")
    records = [_record(f"{path}, {line}", path.parent, row, config, labels) for line, row in rows.items()]
    absent = [
        f"{line}: {record.uri}" for line, record in zip(rows, records, strict=True) if not Path(record.uri).is_file()
    ]
    if absent:
        raise UserError(f"{path}: {len(absent)} of {len(records)} images are not there:\n{listed(absent)}")
    return records


def _require_columns(path: Path, header: list[str], config: SourceConfig, labels: LabelSet) -> None:
    if config.label_columns is not None and len(config.label_columns) != len(labels):
        raise UserError(f"data.label_columns has {len(config.label_columns)} columns for {len(labels)} labels")
    wanted = [config.image_column, *(config.label_columns or [config.label_column])]
    wanted += [config.split_column] if config.split_column else []
    missing = [column for column in wanted if column not in header]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; it has {', '.join(header) or 'none'}")


def _record(where: str, root: Path, row: Mapping[str, str], config: SourceConfig, labels: LabelSet) -> Record:
    votes = None
    if config.label_columns is None:
        target = one_hot(labels.index(row[config.label_column], where), len(labels))
    else:
        votes = _votes(where, [row[column] for column in config.label_columns])
        target = tuple(vote / sum(votes) for vote in votes)
    split = split_named(row[config.split_column], where) if config.split_column else None
    return Record(
        uri=str((root / row[config.image_column]).absolute()), target=target, votes=votes, split=split, where=where
    )


def _votes(where: str, cells: list[str]) -> tuple[float, ...]:
    try:
        votes = tuple(float(cell) for cell in cells)
    except ValueError:
        raise UserError(f"{where}: votes {cells} are not all numbers") from None
    if not all(math.isfinite(vote) and vote >= 0 for vote in votes) or sum(votes) == 0:
        raise UserError(f"{where}: votes {cells} must be 0 or more, with one above 0")
    return votes
