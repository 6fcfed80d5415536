import json
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.config import SourceConfig
from run.errors import UserError
from start.look import Found, look, require_tidy
from tests import finished, support
from tests.data.readers.ten_formats import Written, photos, write_all

FORMATS = ("folder", "csv", "tsv", "jsonl", "parquet", "huggingface", "label_studio", "cvat", "coco", "classes_csv")
PLACES_NAMED = ("label_studio", "cvat", "coco", "huggingface", "classes_csv")
"""Formats whose images have no place that can be found out."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    root = tmp_path_factory.mktemp("formats") / "pictures"
    written = write_all(root, photos(root, support.TWO.names), list(support.TWO.names))
    # In the folder itself, these files would be a second answer beside the label folders.
    (root.parent / "roboflow").mkdir()
    for split in ("test", "valid", "train"):
        (root / split / "_classes.csv").rename(root.parent / "roboflow" / "_classes.csv")
    written["classes_csv"] = (root.parent / "roboflow" / "_classes.csv", {"image_root": str(root)})
    return written


@pytest.mark.parametrize("format_", FORMATS)
def test_look__every_format(written: Written, format_: str) -> None:
    path, settings = written[format_]
    given = {"image_root": settings["image_root"]} if format_ in PLACES_NAMED else {}
    found = look(SourceConfig(path=str(path), **given))
    assert found.config.format == format_
    assert found.exclusive
    assert dict(found.images) == {"sound": found.total // 2, "broken": found.total // 2}
    assert found.total == (4 if format_ == "classes_csv" else 12)
    if format_ in ("label_studio", "coco", "classes_csv"):  # the split is a key of its own there, if anything
        assert found.splits == {}
    else:
        assert found.splits == {"train": 4, "val": 4, "test": 4}
    assert found.short_side is not None


def rows(root: Path, cells: list[dict[str, str]]) -> Path:
    """A table with these cells beside as many pictures in the folder ``shots``."""
    (root / "shots").mkdir()
    for number, row in enumerate(cells):
        support.picture(seed=number).save(root / "shots" / f"{number}.png")
        row["id"] = str(number)
    finished.write_rows(root / "table.csv", cells)
    return root / "table.csv"


def looked(path: Path, **given: Any) -> Found:
    return look(SourceConfig(path=str(path), **given))


def test_look__ids_in_a_folder_beside_the_table(tmp_path: Path) -> None:
    found = looked(rows(tmp_path, [{"breed": name} for name in ("a", "b", "c") * 4]))
    config = found.config
    assert (config.image_column, config.label_column) == ("id", "breed")
    assert config.image_root == str(tmp_path / "shots")
    assert found.images == {"a": 4, "b": 4, "c": 4}


def test_look__several_labels_in_a_cell(tmp_path: Path) -> None:
    found = looked(rows(tmp_path, [{"tags": cell} for cell in ("a", "b", "a|b", "c|a", "", "b") * 2]))
    assert not found.exclusive
    assert found.config.label_separator == "|"
    assert found.images == {"a": 6, "b": 6, "c": 2}


def test_look__cells_that_are_lists(tmp_path: Path) -> None:
    rows(tmp_path, [{"label": "a"} for _ in range(12)])
    cells = [{"image": f"shots/{n}.png", "tags": [["a"], ["b", "a"], []][n % 3], "group": [n]} for n in range(12)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in cells))
    found = looked(path)
    assert (found.config.image_column, found.config.label_column) == ("image", "tags")
    assert found.images == {"a": 8, "b": 4}
    assert not found.exclusive


@pytest.mark.parametrize("exclusive", [True, False])
def test_look__a_column_for_each_label(tmp_path: Path, exclusive: bool) -> None:
    cells = [{"is_cat": str(n % 2), "is_dog": str(1 - n % 2 if exclusive else 1)} for n in range(6)]
    found = looked(rows(tmp_path, cells))
    assert found.config.label_columns == ["is_cat", "is_dog"]
    assert found.config.label_columns_hold == "flags"
    assert found.exclusive == exclusive
    assert found.images == {"cat": 3, "dog": 3 if exclusive else 6}


def test_look__groups_only_where_there_are_enough(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    (tmp_path / "few").mkdir()
    many = [{"label": "ab"[n % 2], "patient": str(n // 2)} for n in range(24)]
    few = [{"label": "ab"[n % 2], "patient": str(n % 3)} for n in range(24)]
    assert looked(rows(tmp_path / "many", many)).config.group_column == "patient"
    assert looked(rows(tmp_path / "few", few)).config.group_column is None


def test_look__what_is_given_is_kept(tmp_path: Path) -> None:
    path = rows(tmp_path, [{"label": "ab"[n % 2], "grade": "xyz"[n % 3]} for n in range(12)])
    assert looked(path).images == {"a": 6, "b": 6}
    assert looked(path, label_column="grade").images == {"x": 4, "y": 4, "z": 4}


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            [{"one": "ab"[n % 2], "two": "ab"[n % 2]} for n in range(12)],
            "it may be one or two: give --data.label_column",
        ),
        ([{"note": f"text {n}"} for n in range(12)], "it is none of note: give --data.label_column NAME"),
        ([{"label": ["a", "b", ""][n % 3]} for n in range(6)], "table.csv, line 4: no label"),
        (
            [{"label": "ab"[n % 2], "split": ["train", "tran", "tran", "test"][n % 4]} for n in range(8)],
            r"table.csv, line 3: split 'tran'",
        ),
        (
            [{"label": "ab"[n % 2], "split": ["train", "", "test", "trian"][n % 4]} for n in range(8)],
            r"table.csv, line 5: split 'trian'",
        ),
        (
            [{"label": ["['a']", "[]"][n % 2]} for n in range(6)],
            r"table.csv: the cells of column label are lists written as text, such as \"\['a'\]\": .* ';' between",
        ),
    ],
)
def test_look__what_is_not_clear(tmp_path: Path, cells: list[dict[str, str]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        looked(rows(tmp_path, cells))


def test_look__a_column_of_other_things_is_no_split(tmp_path: Path) -> None:
    cells = [{"label": "ab"[n % 2], "set": "AB"[n % 2], "split": "", "subset": "train"} for n in range(8)]
    assert looked(rows(tmp_path, cells)).config.split_column == "subset"


def test_look__no_images(tmp_path: Path) -> None:
    path = rows(tmp_path, [{"label": "ab"[n % 2]} for n in range(4)])
    for file in (tmp_path / "shots").iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"no column names images that are there \(it has label, id\)"):
        looked(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no folders to take labels from"):
        looked(tmp_path / "empty")


def test_look__images_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "here").mkdir()
    path = rows(tmp_path / "far", [{"label": "ab"[n % 2]} for n in range(4)])
    cells = [{"image": f"{tmp_path}/far/shots/{n}.png", "label": "ab"[n % 2]} for n in range(4)]
    path = tmp_path / "here" / "table.csv"
    finished.write_rows(path, cells)
    found = looked(path)
    assert found.config.image_root == str(tmp_path / "far" / "shots")
    assert not found.config.allow_outside


def test_look__images_in_a_store(tmp_path: Path) -> None:
    rows(tmp_path, [{"label": "ab"[n % 2]} for n in range(4)])
    store = fsspec.filesystem("memory")
    store.put(f"{tmp_path}/shots/", "/far/shots/", recursive=True)
    cells = [{"image": f"memory://far/shots/{n}.png", "label": "ab"[n % 2]} for n in range(4)]
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "table.csv"
    finished.write_rows(path, cells)
    assert looked(path).config.image_root == "memory://far/shots"
    finished.write_rows(path, [*cells[:3], {"image": f"{tmp_path}/shots/3.png", "label": "b"}])
    with pytest.raises(UserError, match=r"share no folder, such as memory://far/shots/0\.png and .*shots/3\.png: give"):
        looked(path)


def test_require_tidy__labels_that_are_one(images: Path) -> None:
    require_tidy(looked(images))
    (images / "Sound ").mkdir()
    next((images / "sound").iterdir()).rename(images / "Sound " / "a.png")
    with pytest.raises(UserError, match=r"'Sound ' \(1 image\) and 'sound' \(7 images\). Give them one name"):
        require_tidy(looked(images))
    (images / "Sound ").rename(images / " other")
    with pytest.raises(UserError, match=r"' other' begins or ends with a space"):
        require_tidy(looked(images))


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
def test_look__cells_that_are_lists_or_objects(tmp_path: Path, format_: str) -> None:
    cells: list[dict[str, Any]] = [
        {"tags": [["a"], ["b", "a"], []][n % 3], "patient": [n], "box": {"x": n}, "split": "train"} for n in range(12)
    ]
    path = written_as(format_, tmp_path, cells)
    found = looked(path)
    assert (found.config.label_column, found.config.group_column) == ("tags", "patient")
    assert not found.exclusive
    assert found.images == {"a": 8, "b": 4}


def written_as(format_: str, root: Path, cells: list[dict[str, Any]]) -> Path:
    """The cells in a format that has lists, beside their pictures."""
    (root / "shots").mkdir()
    for number, row in enumerate(cells):
        support.picture(seed=number).save(root / "shots" / f"{number}.png")
        row["image"] = f"shots/{number}.png"
    path = root / f"table.{format_}"
    if format_ == "parquet":
        pq.write_table(pa.Table.from_pylist(cells), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in cells), encoding="utf-8")
    return path


@pytest.mark.parametrize("key", ["image_column", "label_column", "split_column", "group_column"])
def test_look__a_column_that_is_given_and_not_there(tmp_path: Path, key: str) -> None:
    path = rows(tmp_path, [{"label": "ab"[n % 2]} for n in range(4)])
    with pytest.raises(UserError, match=rf"table.csv: no column 'nope'; it has 'label', 'id': give --data.{key} NAME"):
        looked(path, **{key: "nope"})


def test_look__label_columns_that_are_given(tmp_path: Path) -> None:
    flags = {"label_columns_hold": "flags"}
    path = rows(tmp_path, [{"Set": str(n % 2), "b": "01"[n % 3 == 0]} for n in range(6)])
    assert looked(path, label_columns=["set", "b"], **flags).config.label_columns == ["Set", "b"]
    with pytest.raises(UserError, match=r"no column 'nope'; it has .*: give --data.label_columns '\[NAME, NAME\]'"):
        looked(path, label_columns=["b", "nope"], **flags)
    # A column of numbers may be taken for the images' ids: what the user names is a label all the same.
    (tmp_path / "two").mkdir()
    path = rows(tmp_path / "two", [{"b": "1"}, {"b": "1"}])
    assert looked(path, label_columns=["id", "b"], **flags).images == {"id": 1, "b": 2}


def test_look__a_table_with_the_name_of_an_imagefolders(tmp_path: Path) -> None:
    path = rows(tmp_path, [{"label": "ab"[n % 2]} for n in range(6)])
    assert looked(path.rename(path.with_name("metadata.csv"))).config.image_column == "id"


def test_look__a_column_that_is_given_in_another_case(tmp_path: Path) -> None:
    path = rows(tmp_path, [{"label": "ab"[n % 2], "Grade": "xyz"[n % 3]} for n in range(12)])
    assert looked(path, label_column="grade").images == {"x": 4, "y": 4, "z": 4}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("table.csv", b"image,label\n", "^table.csv: no rows"),
        ("table.csv", "image,label\nx.png,caf\xe9\n".encode("latin-1"), "^table.csv.* not UTF-8"),
        ("table.csv", b'image,label\n"x.png,a\n', "^table.csv, line 2: "),
        ("table.jsonl", b'{"image": \n', "^table.jsonl, line 1: "),
        ("table.jsonl", b"1\n2\n", "^table.jsonl: 2 problems:"),
        ("table.jsonl", b'{"image": "table.jsonl", "label": true}', "labels go by name, never by position"),
    ],
)
def test_look__no_rows(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        looked(tmp_path / name)


def test_look__of_several_columns_with_bytes_the_one_called_image(tmp_path: Path) -> None:
    pictures = []
    for number in range(6):
        support.picture(seed=number).save(tmp_path / "one.png")
        pictures.append((tmp_path / "one.png").read_bytes())
    columns = {"mask": pictures, "image": pictures, "label": list("ababab")}
    pq.write_table(pa.table(columns), tmp_path / "table.parquet")
    assert looked(tmp_path / "table.parquet").config.image_column == "image"
