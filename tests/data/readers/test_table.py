from pathlib import Path
from typing import Any

import pytest

from data.config import DataConfig
from data.readers.record import Record
from data.readers.table import read
from run.errors import UserError
from tests.support import TWO, picture


def csv_of(folder: Path, content: str | bytes, **settings: Any) -> DataConfig:
    """A table beside the images a.png to d.png."""
    for name in "abcd":
        picture().save(folder / f"{name}.png")
    path = folder / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return DataConfig(format="csv", path=str(path), **settings)


def records(config: DataConfig) -> list[Record]:
    return read(config, TWO, Path(config.path).parent)


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_read__labels(tmp_path: Path, start: str, newline: str) -> None:
    lines = ["image,label,extra", "a.png,broken,1", '"b.png","sound","2,5"']
    found = records(csv_of(tmp_path, start + newline.join(lines) + newline))
    assert [(r.path, r.target, r.votes, r.split) for r in found] == [
        (tmp_path / "a.png", (0.0, 1.0), None, None),
        (tmp_path / "b.png", (1.0, 0.0), None, None),
    ]


def test_read__votes_take_the_order_of_the_labels_not_of_the_columns(tmp_path: Path) -> None:
    config = csv_of(
        tmp_path,
        "file,bad,good\na.png,3,1\nb.png,0,2\nc.png,0.25,0.75\n",
        image_column="file",
        label_columns=["good", "bad"],
    )
    found = records(config)
    assert [r.votes for r in found] == [(1.0, 3.0), (2.0, 0.0), (0.75, 0.25)]
    assert [r.target for r in found] == [(0.25, 0.75), (1.0, 0.0), (0.75, 0.25)]


def test_read__split_column(tmp_path: Path) -> None:
    table = "image,label,part\na.png,sound,train\nb.png,sound,validation\nc.png,broken,test\nd.png,broken,calibration\n"
    found = records(csv_of(tmp_path, table, split_column="part"))
    assert [r.split for r in found] == ["train", "val", "test", "calibration"]


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("picture,label\na.png,sound\n", {}, "no column image; it has picture, label"),
        ("image,label\na.png,sound\n", {"split_column": "part"}, "no column part"),
        ("image,label\na.png,sound\n", {"label_columns": ["x", "y"]}, "no column x, y"),
        ("image,x\na.png,1\n", {"label_columns": ["x"]}, "has 1 columns for 2 labels"),
        ("image,label\n", {}, "has no rows"),
        ("", {}, "no column image, label; it has none"),
        ("image,label\na.png,sound\nb.png,brokn\n", {}, "line 3: label 'brokn'.*did you mean 'broken'"),
        ("image,label\na.png,\n", {}, "line 2: label ''"),
        (
            "image,label\nx.png,sound\na.png,sound\ny.png,sound\n",
            {},
            r"2 of 3 images are not there:\n  line 2: .*x\.png",
        ),
        ("image,label\n,sound\n", {}, "1 of 1 images are not there"),
        ("image,label\na.png,sound\nb.png\n", {}, "line 3: not as many cells"),
        ("image,label\na.png,sound,more\n", {}, "line 2: not as many cells"),
        ("image,label\na.png,s\0und\n", {}, "not a CSV file|label"),
        ("image,label,part\na.png,sound,dev\n", {"split_column": "part"}, "line 2: split 'dev' is none of"),
        ("image,x,y\na.png,1,many\n", {"label_columns": ["x", "y"]}, "line 2: votes .* are not all numbers"),
        ("image,x,y\na.png,1\n", {"label_columns": ["x", "y"]}, "line 2"),
        ("image,x,y\na.png,0,0\n", {"label_columns": ["x", "y"]}, "line 2: votes .* one above 0"),
        ("image,x,y\na.png,-1,2\n", {"label_columns": ["x", "y"]}, "line 2: votes .* 0 or more"),
        ("image,x,y\na.png,nan,2\n", {"label_columns": ["x", "y"]}, "line 2: votes .* 0 or more"),
        ("image,label\na.png,s\xf6und\n".encode("latin-1"), {}, r"not UTF-8 \(byte 19\)"),
    ],
)
def test_read__wrong_tables_name_the_place(
    tmp_path: Path, content: str | bytes, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        records(csv_of(tmp_path, content, **settings))


def test_read__blank_lines_are_no_rows(tmp_path: Path) -> None:
    assert len(records(csv_of(tmp_path, "image,label\na.png,sound\n\nb.png,broken\n\n"))) == 2


def test_read__lines_are_numbered_as_an_editor_shows_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 5: label 'odd'"):
        records(csv_of(tmp_path, 'image,label,note\na.png,sound,"two\nlines"\n\nb.png,odd,\n'))


def test_read__no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a file"):
        records(DataConfig(format="csv", path=str(tmp_path / "none.csv")))
