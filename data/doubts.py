"""Labels that are likely wrong, as ``prepare --suspects`` writes them and ``errors`` shows them."""

import csv
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from run.files import write_csv

SUSPECTS = "suspects.csv"


@dataclass(frozen=True)
class Suspect:
    """One label of one image."""

    uri: str
    split: str
    given: str
    suggested: str
    probability_of_given: float
    probability_of_suggested: float


def write_suspects_file(path: Path, suspects: Iterable[Suspect]) -> None:
    """Write a CSV file, atomically."""
    write_csv(path, [[field.name for field in fields(Suspect)], *map(astuple, suspects)])


def read_suspects_file(path: Path) -> list[Suspect]:
    """Read what ``write_suspects_file`` wrote; nothing where no suspects were looked for."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    return [
        Suspect(uri, split, given, suggested, float(p), float(best)) for uri, split, given, suggested, p, best in rows
    ]
