from pathlib import Path
from typing import Any

import pytest

from data.config import DataConfig
from data.labels import LabelSet
from data.readers.formats import READERS
from data.readers.formats.table import read
from data.readers.record import Record
from data.readers.source import Source
from run.errors import UserError
from tests.support import TWO, picture


def csv_of(folder: Path, content: str | bytes, **settings: Any) -> DataConfig:
    """A table beside the images a.png to d.png."""
    for name in "abcd":
        picture().save(folder / f"{name}.png")
    path = folder / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return DataConfig(**{"format": "csv", "path": str(path), **settings})


def records(config: DataConfig) -> list[Record]:
    return list(READERS[config.format].read(Source(config, TWO, Path(config.path).parent)))


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_read__labels(tmp_path: Path, start: str, newline: str) -> None:
    lines = ["image,label,extra", "a.png,broken,1", '"b.png","sound","2,5"']
    found = records(csv_of(tmp_path, start + newline.join(lines) + newline))
    assert [(r.uri, r.target, r.votes, r.split) for r in found] == [
        (str(tmp_path / "a.png"), (0.0, 1.0), None, None),
        (str(tmp_path / "b.png"), (1.0, 0.0), None, None),
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


def test_read__a_column_without_a_name_gives_no_split_and_no_group(tmp_path: Path) -> None:
    """pandas writes its index like this."""
    found = records(csv_of(tmp_path, ",image,label\n0,a.png,sound\n1,b.png,broken\n"))
    assert [(r.split, r.group, r.target) for r in found] == [(None, None, (1.0, 0.0)), (None, None, (0.0, 1.0))]


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("picture,label\na.png,sound\n", {}, "no column 'image'; it has 'picture', 'label'"),
        ("image,label\na.png,sound\n", {"split_column": "part"}, "no column 'part'"),
        ("image,label\na.png,sound\n", {"group_column": "patient"}, "no column 'patient'"),
        ("image,label\na.png,sound\n", {"label_columns": ["x", "y"]}, "no column 'x', 'y'"),
        ("image,x\na.png,1\n", {"label_columns": ["x"]}, "has 1 column for 2 labels"),
        ("image,x\na.png,1\n", {"label_columns": ["x", "x"]}, "names a column twice"),
        ("image,label,label\na.png,sound,broken\n", {}, "column label stands there more than once"),
        ("image,label\n", {}, r"labels\.csv: no rows below the header"),
        ("", {}, "is empty: it needs a header with image, label"),
        ("\n\n", {}, "is empty"),
        ("image,label\na.png,sound\nb.png,brokn\n", {}, "line 3: label 'brokn'.*did you mean 'broken'"),
        ("image,label\na.png, sound\n", {}, "line 2: label ' sound'.*did you mean 'sound'"),
        ("image,label\na.png,SOUND\n", {}, "line 2: label 'SOUND'.*did you mean 'sound'"),
        ("image,label\na.png,\n", {}, "line 2: no label"),
        ("image,label\n,sound\n", {}, "line 2: no image path"),
        ("image,label\n../a.png,sound\n", {}, r"line 2: image '\.\./a\.png' lies outside the image root"),
        ("image,label\na.png,sound\nb.png\n", {}, "line 3: 1 cell, but the header has 2 columns"),
        ("image,label\na.png,sound,more\n", {}, "line 2: 3 cells, but the header has 2 columns"),
        ("image,label\na.png,sound\nb.png;sound\n", {}, "line 3: 1 cell.*separated by semicolons, not commas"),
        ("image;label\na.png;sound\n", {}, "no column.*separated by semicolons.*save it with commas"),
        ("image\tlabel\na.png\tsound\n", {}, r"separated by tabs, not commas: set format to tsv"),
        ("image,label\na.png,sound\n", {"format": "tsv"}, r"separated by commas, not tabs: set format to csv"),
        ("image,label\na.png,s\0und\n", {}, "line 2: label"),
        ('image,label\na.png,"sound\nb.png,sound\n', {}, "line 2: not readable as a table .* quotation mark"),
        ("image,label,part\na.png,sound,odd\n", {"split_column": "part"}, "line 2: split 'odd' is none of"),
        ("image,x,y\na.png,1,many\n", {"label_columns": ["x", "y"]}, "line 2: votes .* are not all numbers"),
        ("image,x,y\na.png,1\n", {"label_columns": ["x", "y"]}, "line 2"),
        ("image,x,y\na.png,0,0\n", {"label_columns": ["x", "y"]}, "line 2: votes .* one above 0"),
        ("image,x,y\na.png,-1,2\n", {"label_columns": ["x", "y"]}, "line 2: votes .* 0 or more"),
        ("image,x,y\na.png,nan,2\n", {"label_columns": ["x", "y"]}, "line 2: votes .* must be finite"),
        ("image,x,y\na.png,inf,2\n", {"label_columns": ["x", "y"]}, "line 2: votes .* must be finite"),
        ("image,label\na.png,s\xf6und\n".encode("latin-1"), {}, r"line 2 is not UTF-8 \(byte 19\)"),
        ("\ufeffimage,label\n".encode() + b"\xff", {}, r"line 2 is not UTF-8 \(byte 15\)"),
        ("\ufeffim\xe4ge".encode()[:6], {}, r"line 1 is not UTF-8 \(byte 5\)"),
        ("image,label\na.png,sound\n".encode("utf-16"), {}, "is UTF-16"),
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


def test_read__all_problems_at_once(tmp_path: Path) -> None:
    lines = ["image,label", "a.png,sound", *(f"{number}.png,odd" for number in range(11)), "b.png", "../c.png,sound"]
    reading = read(Source(csv_of(tmp_path, "\n".join(lines)), TWO, tmp_path))
    assert next(reading).uri == str(tmp_path / "a.png")
    with pytest.raises(UserError) as error:
        list(reading)
    message = str(error.value).splitlines()
    assert message[0] == f"{tmp_path / 'labels.csv'}: 13 problems:"
    assert [line.split(":")[0].strip() for line in message[1:-1]] == [f"labels.csv, line {n}" for n in range(3, 13)]
    assert message[-1] == "  … and 3 more"


def test_read__what_stands_before_a_bad_byte_is_told_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)2 problems.*line 2: label 'odd'.*line 3 is not UTF-8"):
        records(csv_of(tmp_path, b"image,label\na.png,odd\n\xff,sound\n"))


def test_read__streams(tmp_path: Path) -> None:
    """Only what has been asked for is read: rows after it may be wrong."""
    reading = read(Source(csv_of(tmp_path, "image,label\na.png,sound\nb.png\n"), TWO, tmp_path))
    assert next(reading).where == "labels.csv, line 2"
    with pytest.raises(UserError):
        next(reading)


def test_read__tabs(tmp_path: Path) -> None:
    (record,) = records(csv_of(tmp_path, "image\tlabel\na, b.png\tsound\n", format="tsv"))
    assert record.uri == str(tmp_path / "a, b.png")


def test_read__groups_and_empty_splits(tmp_path: Path) -> None:
    table = "image,label,part,who\na.png,sound,,7\nb.png,,unlabeled,\nc.png,sound,test,x y\n"
    found = records(csv_of(tmp_path, table, split_column="part", group_column="who"))
    assert [(r.target, r.split, r.group) for r in found] == [
        ((1.0, 0.0), None, "7"),
        (None, "unlabeled", None),
        ((1.0, 0.0), "test", "x y"),
    ]


def test_read__several_labels_in_a_cell(tmp_path: Path) -> None:
    table = "image,label\na.png,broken|sound\nb.png,\nc.png,sound | broken\nd.png,sound\n"
    config = csv_of(tmp_path, table, label_separator="|")
    found = [r.target for r in read(Source(config, LabelSet(("sound", "broken"), "multilabel"), tmp_path))]
    assert found == [(1.0, 1.0), (0.0, 0.0), (1.0, 1.0), (1.0, 0.0)]


def test_read__a_pool_needs_only_images(tmp_path: Path) -> None:
    config = csv_of(tmp_path, "image,part\na.png,nothing known\n", split_column="part", label_columns=["x"])
    assert [(r.uri, r.target, r.split) for r in read(Source(config, None, tmp_path))] == [
        (str(tmp_path / "a.png"), None, None)
    ]


def test_read__images_need_not_be_there(tmp_path: Path) -> None:
    (record,) = records(csv_of(tmp_path, "image,label\nnowhere.png,sound\n"))
    assert record.where == "labels.csv, line 2"


@pytest.mark.parametrize(
    "content",
    ["image, label\na.png, sound\n", '"image", "label"\n"a.png", "sound"\n', " image ,label \na.png ,sound \n"],
)
def test_read__spaces_around_the_separators(tmp_path: Path, content: str) -> None:
    (record,) = records(csv_of(tmp_path, content))
    assert (record.uri, record.target) == (str(tmp_path / "a.png"), (1.0, 0.0))


@pytest.mark.parametrize(
    ("name", "split"),
    [("TRAIN", "train"), ("Validation", "val"), ("dev", "val"), ("Testing", "test"), ("val2017", "val")],
)
def test_read__split_names_whatever_their_case(tmp_path: Path, name: str, split: str) -> None:
    (record,) = records(csv_of(tmp_path, f"image,label,part\na.png,sound,{name}\n", split_column="part"))
    assert record.split == split


def test_read__splits_left_out_or_taken_as_unlabeled(tmp_path: Path) -> None:
    table = "image,label,part\na.png,sound,train\nb.png,-1,hidden\nc.png,,extra\n"
    settings = {"split_column": "part", "unlabeled_splits": ["hidden"], "leave_out": ["extra"]}
    found = records(csv_of(tmp_path, table, **settings))
    assert [(record.target, record.split) for record in found] == [((1.0, 0.0), "train"), (None, "unlabeled")]
