import json
import os
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.config import Format, SourceConfig
from data.labels import LabelSet
from data.readers import read
from data.readers.formats import READERS
from data.readers.formats.imagefolder import NAMES
from data.readers.source import Source, split_named
from run.errors import UserError
from tests.data.readers.ten_formats import Photo, Written, photos, write_all
from tests.support import TWO, picture

MANY = LabelSet(("sound", "broken"), "multilabel")
WITHOUT_GROUPS = ("folder", "cvat", "classes_csv")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Photo], Written]:
    root = tmp_path_factory.mktemp("formats") / "images"
    rows = photos(root, TWO.names)
    return root, rows, write_all(root, rows, list(TWO.names))


@pytest.mark.parametrize("labels", [TWO, MANY, None])
@pytest.mark.parametrize("format_", [name for name in READERS if name != "elpv"])
def test_read__every_format_says_the_same(
    written: tuple[Path, list[Photo], Written], tmp_path: Path, format_: Any, labels: LabelSet | None
) -> None:
    root, rows, sources = written
    path, settings = sources[format_]
    records = list(read(Source(SourceConfig(format=format_, path=str(path), **settings), labels, tmp_path)))
    expected = {
        (
            str(root / row.path),
            tuple(float(row.label == name) for name in labels.names) if labels else None,
            split_named(row.split, "") if labels else None,
            None if format_ in WITHOUT_GROUPS else row.group,
        )
        for row in rows
    }
    assert len(records) == len(rows)
    assert {(r.uri, r.target, r.split, r.group) for r in records} == expected
    assert {r.votes for r in records} == {None}
    assert len({r.where for r in records}) == len(rows)
    assert all(Path(r.uri).is_file() for r in records)


def test_readers__one_for_every_format() -> None:
    assert set(READERS) == set(get_args(Format)) - {"auto"}


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            picture().save(path)
        elif path.suffix == ".jsonl":
            path.write_text(json.dumps({"file_name": "a.png", "image": "a.png", "label": "sound"}))
        elif path.name == "_classes.csv":
            path.write_text("filename, sound, broken\na.png, 1, 0\n")
        elif path.suffix in (".csv", ".tsv"):
            cells = [("file_name", "label") if path.name in NAMES else ("image", "label"), ("a.png", "sound")]
            path.write_text("\n".join(("," if path.suffix == ".csv" else "\t").join(row) for row in cells))
        elif path.suffix == ".xml":
            path.write_text('<annotations><image id="0" name="a.png"><tag label="sound"/></image></annotations>')
        elif name.endswith("coco.json"):
            image = {"id": 1, "file_name": "a.png"}
            label = {"image_id": 1, "category_id": 2}
            path.write_text(
                json.dumps({"images": [image], "annotations": [label], "categories": [{"id": 2, "name": "sound"}]})
            )
        else:
            raise AssertionError(name)


@pytest.mark.parametrize(
    ("names", "path", "format_"),
    [
        (["sound/a.png", "broken/b.png"], "", "folder"),
        (["train/sound/a.png", "test/broken/b.png"], "", "folder"),
        (["labels.csv", "a.png"], "labels.csv", "csv"),
        (["labels.csv", "a.png"], "", "csv"),
        (["labels.csv", "images/a.png"], "", "csv"),
        (["labels.tsv"], "labels.tsv", "tsv"),
        (["labels.jsonl"], "labels.jsonl", "jsonl"),
        (["labels.xml", "a.png"], "", "cvat"),
        (["labels.coco.json"], "labels.coco.json", "coco"),
        (["metadata.csv", "a.png"], "", "huggingface"),
        (["train/metadata.csv", "train/a.png", "test/metadata.csv"], "", "huggingface"),
        (["metadata.jsonl"], "metadata.jsonl", "jsonl"),
        (["_classes.csv"], "", "classes_csv"),
        (["_classes.csv"], "_classes.csv", "classes_csv"),
        (["train/_classes.csv", "valid/_classes.csv"], "", "classes_csv"),
        (["train/_annotations.coco.json", "test/_annotations.coco.json"], "", "coco"),
    ],
)
def test_read__auto_says_what_it_found(
    tmp_path: Path, names: list[str], path: str, format_: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, *names)
    records = list(read(Source(SourceConfig(path=str(tmp_path / path)), TWO, tmp_path / "store")))
    assert {r.target for r in records} <= {(1.0, 0.0), (0.0, 1.0)}
    assert any(Path(r.uri).name == "a.png" for r in records)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"read as format {format_}, because " in line
    assert str(tmp_path) in line


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["sound/a.png", "broken/b.png", "metadata.csv"], r"metadata\.csv; the folders broken, sound"),
        (["sound/a.png", "broken/b.png", "labels.csv"], r"labels\.csv; the folders broken, sound"),
        (["Sound /a.png", "labels.csv"], r"labels\.csv; the folders Sound "),
        (["train/sound/a.png", "train/metadata.jsonl"], r"metadata\.jsonl; the folders sound"),
        (["train/sound/a.png", "train/_classes.csv"], r"_classes\.csv; the folders sound"),
        (["metadata.csv", "metadata.jsonl"], r"metadata\.csv; metadata\.jsonl"),
        (["labels.csv", "other.jsonl"], r"labels\.csv; other\.jsonl"),
        (["labels.coco.json", "labels.xml"], r"labels\.coco\.json; labels\.xml"),
    ],
)
def test_read__auto_asks_where_labels_stand_in_two_places(tmp_path: Path, names: list[str], message: str) -> None:
    put(tmp_path, *names)
    with pytest.raises(UserError, match=f"labels in more than one place: {message}.* Say which"):
        list(read(Source(SourceConfig(path=str(tmp_path)), TWO, tmp_path)))


def test_read__an_explicit_format_is_the_answer(tmp_path: Path) -> None:
    put(tmp_path, "sound/a.png", "broken/b.png", "metadata.csv")
    config = SourceConfig(path=str(tmp_path), format="folder")
    assert len(list(read(Source(config, TWO, tmp_path)))) == 2
    assert len(list(read(Source(replace(config, format="huggingface"), TWO, tmp_path)))) == 1


def test_read__a_table_without_labels_does_not_count(tmp_path: Path) -> None:
    put(tmp_path, "sound/a.png", "broken/b.png")
    (tmp_path / "metadata.csv").write_text("file_name,caption\nsound/a.png,fine\n")
    (tmp_path / "notes.jsonl").write_text("no JSON at all")
    assert len(list(read(Source(SourceConfig(path=str(tmp_path)), TWO, tmp_path)))) == 2
    (tmp_path / "labels.csv").write_text("image,label\na.png,sound\n")
    with pytest.raises(UserError, match="more than one place"):
        list(read(Source(SourceConfig(path=str(tmp_path)), TWO, tmp_path)))


def test_read__a_pool_is_any_folder(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "sound/b.png", "metadata.csv", "labels.csv")
    records = list(read(Source(SourceConfig(path=str(tmp_path)), None, tmp_path)))
    assert {(r.uri, r.target) for r in records} == {
        (str(tmp_path / "a.png"), None),
        (str(tmp_path / "sound/b.png"), None),
    }


@pytest.mark.parametrize("format_", ["auto", "folder", "csv"])
@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz", "labels.csv.gz", "set.TAR", "set.tgz", "set.7z"])
def test_read__archives(tmp_path: Path, format_: Any, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UserError, match="unpack it first"):
        list(read(Source(SourceConfig(format=format_, path=str(tmp_path / name)), TWO, tmp_path)))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "data.path is empty"),
        ("{root}/none", "there is no file or folder"),
        ("{root}/none.csv", "there is no file or folder"),
        ("{root}/readme.txt", "has no ending that says"),
        ("{root}/empty.json", "is no JSON file"),
        ("nobody/nothing", "no dataset could be loaded from 'nobody/nothing'"),
        ("nobody/labels.csv", "there is no file or folder"),
        ("{root}/nothing", "no image files below"),
    ],
)
def test_read__auto_finds_nothing(tmp_path: Path, path: str, message: str) -> None:
    for name in ("readme.txt", "empty.json"):
        (tmp_path / name).touch()
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match=message):
        list(read(Source(SourceConfig(path=path.format(root=tmp_path)), TWO, tmp_path)))


@pytest.mark.parametrize("format_", [name for name in READERS if name != "elpv"])
@pytest.mark.parametrize("path", ["", "{root}/none", "{root}/set.zip"])
@pytest.mark.parametrize("key", ["data", "data.unlabeled"])
def test_read__no_such_source_is_blamed_under_its_own_key(tmp_path: Path, format_: Any, path: str, key: str) -> None:
    config = SourceConfig(format=format_, path=path.format(root=tmp_path))
    with pytest.raises(UserError, match=rf"^{key}\.path"):
        list(read(Source(config, TWO, tmp_path, key)))


def test_read__relative_paths_and_homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "labels.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("labels.csv", "./x/../labels.csv", "~/labels.csv", (tmp_path / "labels.csv").as_uri()):
        (record,) = read(Source(SourceConfig(path=path), TWO, tmp_path))
        assert record.uri == str(tmp_path / "a.png")


def test_read__a_file_that_may_not_be_read(tmp_path: Path) -> None:
    put(tmp_path, "labels.csv")
    (tmp_path / "labels.csv").chmod(0)
    if os.access(tmp_path / "labels.csv", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(UserError, match="Permission denied"):
        list(read(Source(SourceConfig(path=str(tmp_path / "labels.csv")), TWO, tmp_path)))


NAMES_SPLITS = [name for name in READERS if name != "elpv"]


@pytest.mark.parametrize("format_", NAMES_SPLITS)
def test_read__a_split_is_left_out_or_unlabeled_in_every_format(
    written: tuple[Path, list[Photo], Written], tmp_path: Path, format_: Any
) -> None:
    path, settings = written[2][format_]
    choice: dict[str, Any] = {"leave_out": ["test"], "unlabeled_splits": ["valid"]}
    config = SourceConfig(format=format_, path=str(path), **settings, **choice)
    records = list(read(Source(config, TWO, tmp_path)))
    labeled = {r.split for r in records if r.target is not None}
    unlabeled = {r.split for r in records if r.target is None}
    assert (labeled, unlabeled <= {"unlabeled", None}, len(records)) == ({"train"}, True, 8)


@pytest.mark.parametrize("option", ["leave_out", "unlabeled_splits"])
@pytest.mark.parametrize("format_", NAMES_SPLITS)
def test_read__a_split_that_is_not_there_is_a_mistake_in_every_format(
    written: tuple[Path, list[Photo], Written], tmp_path: Path, format_: Any, option: str
) -> None:
    path, settings = written[2][format_]
    choice: dict[str, Any] = {option: ["tset"]}
    config = SourceConfig(format=format_, path=str(path), **settings, **choice)
    with pytest.raises(UserError, match=rf"^data\.{option}: .* has no tset; it has .*test"):
        list(read(Source(config, TWO, tmp_path)))


def test_read__splits_of_a_pool_that_play_no_part_cannot_be_left_out(tmp_path: Path) -> None:
    put(tmp_path, "labels.csv", "test/a.png")
    config = SourceConfig(path=str(tmp_path / "labels.csv"), split_column="part", leave_out=["test"])
    with pytest.raises(UserError, match="has no test; it names no splits that count here"):
        list(read(Source(config, None, tmp_path, "data.unlabeled")))


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "saved"])
@pytest.mark.parametrize("row", [{" image": "a.png", "label ": "sound"}, {"Image": "a.png", "LABEL": "sound"}])
def test_read__spaces_around_a_headers_names_and_their_case(tmp_path: Path, kind: str, row: dict[str, str]) -> None:
    put(tmp_path, "a.png")
    path = tmp_path / f"labels.{kind}"
    if kind == "jsonl":
        path.write_text(json.dumps(row))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    elif kind == "saved":
        datasets.Dataset.from_list([row]).save_to_disk(path)
    else:
        path.write_text("\n".join((", " if kind == "csv" else "\t ").join(cells) for cells in (row, row.values())))
    config = SourceConfig(path=str(path), image_root=str(tmp_path))
    assert [(r.uri, r.target) for r in read(Source(config, TWO, tmp_path))] == [(str(tmp_path / "a.png"), (1.0, 0.0))]


def test_read__two_columns_that_differ_in_case_are_not_guessed_at(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "labels.csv").write_text("Image,IMAGE,label\na.png,b.png,sound\n")
    config = SourceConfig(path=str(tmp_path / "labels.csv"))
    with pytest.raises(UserError, match="no column 'image'; it has 'Image', 'IMAGE', 'label'"):
        list(read(Source(config, TWO, tmp_path)))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_read__accents_of_labels_however_they_are_written(tmp_path: Path, form: Any) -> None:
    labels = LabelSet((unicodedata.normalize("NFC", "rissig-schräg"), "ganz"), "nominal")
    written = unicodedata.normalize(form, "rissig-schräg")
    put(tmp_path, "ganz/a.png", f"{written}/b.png")
    assert {r.target for r in read(Source(SourceConfig(path=str(tmp_path)), labels, tmp_path))} == {(1, 0), (0, 1)}
    (tmp_path / "labels.csv").write_text(f"image,label\nganz/a.png,{written}\n")
    (record,) = read(Source(SourceConfig(path=str(tmp_path / "labels.csv")), labels, tmp_path))
    assert record.target == (1, 0)
    with pytest.raises(UserError, match=rf"labels\.csv; the folders ganz, {written}"):
        list(read(Source(SourceConfig(path=str(tmp_path)), labels, tmp_path)))


@pytest.mark.parametrize("names", [["set/labels.csv", "set/a.png"], ["set/sound/a.png", "set/broken/b.png"]])
def test_read__labels_one_folder_further_down_are_named(tmp_path: Path, names: list[str]) -> None:
    put(tmp_path, *names)
    with pytest.raises(UserError, match=rf"but set inside it has \w.*: set data\.path to {tmp_path}/set$"):
        list(read(Source(SourceConfig(path=str(tmp_path)), TWO, tmp_path)))


def test_read__a_split_folder_whose_table_has_no_labels(tmp_path: Path) -> None:
    put(tmp_path, "train/metadata.csv", "train/a.png", "test/a.png")
    (tmp_path / "test" / "metadata.csv").write_text("file_name\na.png\n")
    with pytest.raises(UserError, match=r"no column 'label'; it has 'file_name'; data\.unlabeled_splits takes"):
        list(read(Source(SourceConfig(path=str(tmp_path)), TWO, tmp_path)))
    config = SourceConfig(path=str(tmp_path), unlabeled_splits=["test"])
    assert [r.target for r in read(Source(config, TWO, tmp_path))] == [None, (1.0, 0.0)]
    assert len(list(read(Source(replace(config, unlabeled_splits=[], leave_out=["test"]), TWO, tmp_path)))) == 1
