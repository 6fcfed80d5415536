import hashlib
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.formats import parquet
from data.readers.formats.parquet import read
from data.readers.record import Record
from data.readers.source import Source
from run.errors import UserError
from tests.support import TWO, encoded, picture

MANY = LabelSet(("sound", "broken"), "multilabel")


def records(
    folder: Path, table: dict[str, Any] | pa.Table, labels: LabelSet | None = TWO, **settings: Any
) -> list[Record]:
    path = folder / "part.parquet"
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), path)
    return list(read(Source(SourceConfig(format="parquet", path=str(path), **settings), labels, folder / "store")))


def test_read__rows_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_ROWS_AT_ONCE", 2)
    names = ["sound", "broken", "broken", "sound", "broken"]
    found = records(
        tmp_path,
        {"image": list("abcde"), "label": names, "part": ["test", None, "", "train", "val"]},
        split_column="part",
    )
    assert [TWO.names[r.target.index(1.0)] for r in found if r.target] == names
    assert [r.where for r in found] == [f"part.parquet, row {n}" for n in range(5)]
    assert [r.split for r in found] == ["test", None, None, "train", "val"]


def test_read__lists_and_numbers(tmp_path: Path) -> None:
    found = records(tmp_path, {"image": ["a", "b"], "label": [["broken"], []]}, MANY)
    assert [r.target for r in found] == [(0.0, 1.0), (0.0, 0.0)]
    found = records(
        tmp_path, {"image": ["a"], "x": [True], "y": [False]}, label_columns=["x", "y"], label_columns_hold="flags"
    )
    assert [r.target for r in found] == [(1.0, 0.0)]


def test_read__images_inside_as_datasets_writes_them(tmp_path: Path) -> None:
    data = encoded(picture(), "PNG")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    images = {
        "image": [{"bytes": data, "path": "a.png"}, {"bytes": None, "path": "b.png"}],
        "label": ["sound", "broken"],
    }
    table = datasets.Dataset.from_dict(images, features=features).data.table.replace_schema_metadata(None)
    found = records(tmp_path, table)
    assert found[0].uri == str(tmp_path / "store" / hashlib.sha256(data).hexdigest())
    assert Path(found[0].uri).read_bytes() == data
    assert found[1].uri == str(tmp_path / "b.png")
    assert records(tmp_path, {"image": [data], "label": ["sound"]})[0].uri == found[0].uri


@pytest.mark.parametrize(
    ("table", "settings", "message"),
    [
        ({"image": ["a"]}, {}, "no column 'label'; it has 'image'"),
        ({"image": pa.array([], pa.string()), "label": pa.array([], pa.string())}, {}, "no rows"),
        (
            pa.table([["a"], ["x"], ["y"]], names=["image", "label", "label"]),
            {},
            "column label stands there more than once",
        ),
        ({"image": ["a", None], "label": ["sound", "sound"]}, {}, "row 1: no image"),
        ({"image": ["a", "b"], "label": ["sound", None]}, {}, "row 1: no label"),
        ({"image": ["a", "b"], "label": [0, 1]}, {}, "(?s)2 problems.*row 0: label 0 is no text"),
        ({"image": ["a"], "x": [float("nan")], "y": [1.0]}, {"label_columns": ["x", "y"]}, "row 0: votes .* finite"),
    ],
)
def test_read__wrong_rows(tmp_path: Path, table: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        records(tmp_path, table, **settings)


def test_read__no_parquet(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("image,label")
    for name in ("x.parquet", "none.parquet", ""):
        with pytest.raises(UserError, match=r"no Parquet file|is not a file"):
            list(read(Source(SourceConfig(format="parquet", path=str(tmp_path / name)), TWO, tmp_path)))
