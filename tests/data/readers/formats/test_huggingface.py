import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.config import DataConfig
from data.labels import LabelSet
from data.readers import read as read_any
from data.readers.formats.huggingface import read, records_of
from data.readers.source import Source
from run.errors import UserError
from tests.support import TWO, encoded, picture

BYTES = [encoded(picture(seed=seed), "PNG") for seed in range(4)]


def dataset_of(labels: list[Any], feature: Any, image: str = "image", label: str = "label") -> datasets.Dataset:
    images = [{"bytes": data, "path": None} for data in BYTES[: len(labels)]]
    features = datasets.Features({image: datasets.Image(), label: feature})
    return datasets.Dataset.from_dict({image: images, label: labels}, features=features)


def test_read__class_labels_go_by_name_not_by_number(tmp_path: Path) -> None:
    feature = datasets.ClassLabel(names=["broken", "sound"])  # alphabetical; the run's order is another
    dataset_of([0, 1, 1, 0], feature).save_to_disk(tmp_path / "set")
    config = DataConfig(format="huggingface", path=str(tmp_path / "set"))
    records = list(read(Source(config, TWO, tmp_path / "store")))
    assert [r.target for r in records] == [(0.0, 1.0), (1.0, 0.0), (1.0, 0.0), (0.0, 1.0)]
    assert [Path(r.uri).read_bytes() for r in records] == BYTES
    assert [Path(r.uri).name for r in records] == [hashlib.sha256(data).hexdigest() for data in BYTES]
    before = [Path(r.uri).stat().st_mtime_ns for r in records]
    again = list(read(Source(config, TWO, tmp_path / "store")))
    assert [Path(r.uri).stat().st_mtime_ns for r in again] == before


def test_read__splits_and_custom_columns(tmp_path: Path) -> None:
    text = datasets.Value("string")
    parts = {
        split: dataset_of([name], text, image="photo", label="grade")
        for split, name in (("train", "sound"), ("validation", "broken"), ("test", "sound"))
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "set")
    config = DataConfig(format="huggingface", path=str(tmp_path / "set"), image_column="photo", label_column="grade")
    records = list(read(Source(config, TWO, tmp_path / "store")))
    assert [(r.split, r.target) for r in records] == [
        ("train", (1.0, 0.0)),
        ("val", (0.0, 1.0)),
        ("test", (1.0, 0.0)),
    ]


def test_read__images_that_are_files_stay_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(BYTES[0])
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    dataset = datasets.Dataset.from_dict({"image": [str(path)], "label": ["sound"]}, features=features)
    (record,) = records_of(dataset, DataConfig(), TWO, tmp_path / "store")
    assert (record.uri, record.where) == (str(path), "dataset, row 0")
    assert not (tmp_path / "store").exists()
    with pytest.raises(UserError, match="outside the image root"):
        list(records_of(dataset, DataConfig(image_root=str(tmp_path / "other")), TWO, tmp_path / "store"))


def test_records_of__paths_as_text_groups_splits_and_columns(tmp_path: Path) -> None:
    rows = {
        "photo": ["a.png", "deep/../b.png"],
        "p": [[1, 0], [0, 1]],
        "good": [3, 0],
        "bad": [1, 2],
        "part": ["test", ""],
        "cell": [7, None],
    }
    config = DataConfig(
        image_root=str(tmp_path),
        image_column="photo",
        label_columns=["good", "bad"],
        split_column="part",
        group_column="cell",
    )
    found = list(records_of(datasets.Dataset.from_dict(rows), config, TWO, tmp_path))
    assert [(r.uri, r.target, r.votes, r.split, r.group) for r in found] == [
        (str(tmp_path / "a.png"), (0.75, 0.25), (3.0, 1.0), "test", "7"),
        (str(tmp_path / "b.png"), (0.0, 1.0), (0.0, 2.0), None, None),
    ]


def test_records_of__several_labels_go_by_name(tmp_path: Path) -> None:
    many = LabelSet(("sound", "broken"), "multilabel")
    labels = datasets.Sequence(datasets.ClassLabel(names=["broken", "sound"]))
    dataset = dataset_of([[0], [1, 0], []], labels)
    found = list(records_of(dataset, DataConfig(), many, tmp_path))
    assert [r.target for r in found] == [(0.0, 1.0), (1.0, 1.0), (0.0, 0.0)]


def test_records_of__a_pool_needs_no_label_and_no_known_split(tmp_path: Path) -> None:
    part = dataset_of([0, 1], datasets.ClassLabel(names=["x", "y"]), label="other")
    found = list(records_of(datasets.DatasetDict({"extra": part, "dev": part}), DataConfig(), None, tmp_path))
    assert [(r.target, r.split) for r in found] == [(None, None)] * 4


def test_records_of__what_is_only_called_train_has_no_split(tmp_path: Path) -> None:
    part = dataset_of(["sound"], datasets.Value("string"))
    for parts, split in (({"train": part}, None), ({"train": part, "test": part}, "train"), ({"test": part}, "test")):
        first = next(iter(records_of(datasets.DatasetDict(parts), DataConfig(), TWO, tmp_path)))
        assert first.split == split


def test_records_of__all_problems_at_once(tmp_path: Path) -> None:
    names = ["sound", *(f"odd {number}" for number in range(13)), "broken"]
    dataset = datasets.Dataset.from_dict({"image": ["a.png"] * 15, "label": names})
    read_ = records_of(dataset, DataConfig(), TWO, tmp_path)
    assert next(read_).where == "dataset, row 0"
    with pytest.raises(UserError, match=r"(?s)^dataset: 13 problems:\n.*row 1: label 'odd 0'.*row 10.*… and 3 more$"):
        list(read_)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_read__imagefolder_with_metadata(tmp_path: Path, kind: str) -> None:
    frames = {"train": [("a.png", "sound"), ("in/b.png", "broken")], "validation": [("c.png", "broken")]}
    for split, rows in frames.items():
        table = pa.table({"file_name": [r[0] for r in rows], "label": [r[1] for r in rows]})
        write_table(table, tmp_path / split / f"metadata.{kind}")
    found = list(read(Source(DataConfig(format="huggingface", path=str(tmp_path)), TWO, tmp_path / "store")))
    assert [(r.uri, r.target, r.split) for r in found] == [
        (str(tmp_path / "train/a.png"), (1.0, 0.0), "train"),
        (str(tmp_path / "train/in/b.png"), (0.0, 1.0), "train"),
        (str(tmp_path / "validation/c.png"), (0.0, 1.0), "val"),
    ]
    assert found[-1].where.startswith(f"validation/metadata.{kind}, ")


def test_read__two_metadata_files(tmp_path: Path) -> None:
    table = pa.table({"file_name": ["a.png"], "label": ["sound"]})
    write_table(table, tmp_path / "metadata.csv")
    write_table(table, tmp_path / "train" / "metadata.jsonl")
    for clash in (tmp_path / "train", tmp_path):
        with pytest.raises(UserError, match=r"metadata\.csv and .*metadata\.jsonl"):
            list(read(Source(DataConfig(format="huggingface", path=str(tmp_path)), TWO, tmp_path)))
        write_table(table, clash / "metadata.jsonl")


def write_table(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".csv":
        lines = [",".join(table.column_names), *(",".join(row.values()) for row in table.to_pylist())]
        path.write_text("\n".join(lines))
    else:
        path.write_text("\n".join(json.dumps(row) for row in table.to_pylist()))


def test_read__a_saved_dataset_may_name_no_file_elsewhere(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"image": ["/etc/a.png"], "label": ["sound"]}).save_to_disk(tmp_path / "set")
    config = DataConfig(format="huggingface", path=str(tmp_path / "set"))
    with pytest.raises(UserError, match="lies outside the image root"):
        list(read(Source(config, TWO, tmp_path)))
    (record,) = read(Source(replace(config, allow_outside=True), TWO, tmp_path))
    assert record.uri == "/etc/a.png"


@pytest.mark.parametrize(
    ("labels", "feature", "message"),
    [
        (["sound", "cracked"], datasets.Value("string"), "row 1: label 'cracked' is not in labels.names"),
        (["sound", None], datasets.Value("string"), "row 1: no label"),
        ([0, -1], datasets.ClassLabel(names=["sound", "broken"]), "row 1: no label"),
    ],
)
def test_read__wrong_labels_name_the_row(tmp_path: Path, labels: list[Any], feature: Any, message: str) -> None:
    dataset_of(labels, feature).save_to_disk(tmp_path / "set")
    with pytest.raises(UserError, match=message):
        list(read(Source(DataConfig(format="huggingface", path=str(tmp_path / "set")), TWO, tmp_path / "store")))


def test_read__missing_image_names_the_row(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    rows = {"image": [{"bytes": BYTES[0], "path": None}, None], "label": ["sound", "sound"]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "set")
    with pytest.raises(UserError, match="row 1: no image"):
        list(read(Source(DataConfig(format="huggingface", path=str(tmp_path / "set")), TWO, tmp_path / "store")))


def test_read__column_without_images(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"image": [0.5, 2.5], "label": ["sound", "broken"]}).save_to_disk(tmp_path / "set")
    with pytest.raises(UserError, match="column image holds no images"):
        list(read(Source(DataConfig(format="huggingface", path=str(tmp_path / "set")), TWO, tmp_path / "store")))


def test_read__missing_column_and_unknown_split(tmp_path: Path) -> None:
    part = dataset_of(["sound"], datasets.Value("string"))
    part.save_to_disk(tmp_path / "set")
    config = DataConfig(format="huggingface", path=str(tmp_path / "set"), label_column="grade")
    with pytest.raises(UserError, match="no column 'grade'; it has 'image', 'label'"):
        list(read(Source(config, TWO, tmp_path)))
    datasets.DatasetDict({"odd": part}).save_to_disk(tmp_path / "dict")
    with pytest.raises(UserError, match="split 'odd' is none of"):
        list(read(Source(DataConfig(format="huggingface", path=str(tmp_path / "dict")), TWO, tmp_path)))


def test_read__what_cannot_be_had(tmp_path: Path) -> None:
    """No network in the tests: a Hub id is answered at once."""
    (tmp_path / "plain").mkdir()
    for source in ("nobody/nothing-here", str(tmp_path / "plain")):
        with pytest.raises(UserError, match=r"data\.path: no dataset could be loaded"):
            list(read(Source(DataConfig(format="huggingface", path=source), LabelSet(("a", "b"), "nominal"), tmp_path)))


def hub_folder(root: Path, inner: str = "data") -> DataConfig:
    """A data set as it is on the Hub, downloaded: the test split's labels are -1, and another has no label column."""
    feature = datasets.ClassLabel(names=["broken", "sound"])
    (root / inner).mkdir(parents=True, exist_ok=True)
    for split, labels in (("train", [0, 1]), ("test", [-1, -1])):
        dataset_of(labels, feature).to_parquet(root / inner / f"{split}-00000-of-00001.parquet")
    return DataConfig(path=str(root))


@pytest.mark.parametrize("inner", ["data", ""])
@pytest.mark.parametrize("format_", ["auto", "huggingface"])
def test_read__a_downloaded_folder_in_the_hubs_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str, format_: Any
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    config = replace(hub_folder(tmp_path / "set", inner), format=format_)
    with pytest.raises(UserError, match=r"split test, row 0: no label; where .* data\.unlabeled_splits"):
        list(read_any(Source(config, TWO, tmp_path / "store")))
    found = list(read_any(Source(replace(config, leave_out=["test"]), TWO, tmp_path / "store")))
    assert [r.target for r in found] == [(0.0, 1.0), (1.0, 0.0)]
    found = list(read_any(Source(replace(config, unlabeled_splits=["test"]), TWO, tmp_path / "store")))
    assert [r.target for r in found] == [(0.0, 1.0), (1.0, 0.0), None, None]
    with pytest.raises(UserError, match=r"data\.leave_out: .*has no tset; it has test, train"):
        list(read_any(Source(replace(config, leave_out=["tset"]), TWO, tmp_path / "store")))


def test_records_of__an_unlabeled_split_needs_no_label_column(tmp_path: Path) -> None:
    text = datasets.Value("string")
    parts = datasets.DatasetDict({"train": dataset_of(["sound"], text), "test": dataset_of([""], text, label="x")})
    config = DataConfig(unlabeled_splits=["test"])
    assert [r.target for r in records_of(parts, config, TWO, tmp_path)] == [(1.0, 0.0), None]
    with pytest.raises(UserError, match="has no tset; it has test, train"):
        list(records_of(parts, replace(config, leave_out=["tset"]), TWO, tmp_path))
