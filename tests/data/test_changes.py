from pathlib import Path
from typing import Any

import pytest

from data.changes import Rows
from data.manifest import Manifest
from tests.support import TWO, rows_of

PATHS = [Path(f"{index}.png") for index in range(6)]
ROWS = rows_of(PATHS, TWO)


def images(rows: list[dict[str, Any]]) -> Rows:
    return Rows.of_images(Manifest.of(TWO, rows), "train", "val")


def relabeled(*which: int) -> list[dict[str, Any]]:
    return [{**row, "target": row["target"][::-1]} if index in which else row for index, row in enumerate(ROWS)]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (relabeled(1, 2, 5), "3 labels changed"),
        ([{**ROWS[0], "split": "val"}, *ROWS[1:]], "1 image moved to another split"),
        ([{**ROWS[0], "split": "test"}, *ROWS[1:]], "1 image is gone"),
        (ROWS[2:] + rows_of([Path("new.png")], TWO), "1 image is new, 2 images are gone"),
        ([*relabeled(0)[:-1], *rows_of([Path("new.png")], TWO)], "1 label changed, 1 image is new, 1 image is gone"),
    ],
)
def test_rows__what_changed_in_words(tmp_path: Path, rows: list[dict[str, Any]], words: str) -> None:
    before = images(ROWS)
    before.save(tmp_path / "rows.parquet")
    assert images(rows).digest != before.digest
    assert images(rows).difference(tmp_path / "rows.parquet") == words
    assert before.difference(tmp_path / "rows.parquet") == ""


@pytest.mark.parametrize("content", [None, b"cut"])
def test_rows__where_nothing_can_be_compared(tmp_path: Path, content: bytes | None) -> None:
    if content:
        (tmp_path / "rows.parquet").write_bytes(content)
    assert images(ROWS).difference(tmp_path / "rows.parquet") == ""
