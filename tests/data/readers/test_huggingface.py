import hashlib
from pathlib import Path
from typing import Any

import datasets
import pytest

from data.config import DataConfig
from data.labels import LabelSet
from data.readers.huggingface import read
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
    records = read(config, TWO, tmp_path / "store")
    assert [r.target for r in records] == [(0.0, 1.0), (1.0, 0.0), (1.0, 0.0), (0.0, 1.0)]
    assert [r.path.read_bytes() for r in records] == BYTES
    assert [r.path.name for r in records] == [hashlib.sha256(data).hexdigest() for data in BYTES]
    before = [r.path.stat().st_mtime_ns for r in records]
    again = read(config, TWO, tmp_path / "store")
    assert [r.path.stat().st_mtime_ns for r in again] == before


def test_read__splits_and_custom_columns(tmp_path: Path) -> None:
    text = datasets.Value("string")
    parts = {
        split: dataset_of([name], text, image="photo", label="grade")
        for split, name in (("train", "sound"), ("validation", "broken"), ("test", "sound"))
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "set")
    config = DataConfig(format="huggingface", path=str(tmp_path / "set"), image_column="photo", label_column="grade")
    records = read(config, TWO, tmp_path / "store")
    assert [(r.split, r.target) for r in records] == [
        ("train", (1.0, 0.0)),
        ("val", (0.0, 1.0)),
        ("test", (1.0, 0.0)),
    ]


def test_read__images_that_are_files_stay_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(BYTES[0])
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    rows = {"image": [str(path)], "label": ["sound"]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "set")
    (record,) = read(DataConfig(format="huggingface", path=str(tmp_path / "set")), TWO, tmp_path / "store")
    assert record.path.read_bytes() == BYTES[0]


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
        read(DataConfig(format="huggingface", path=str(tmp_path / "set")), TWO, tmp_path / "store")


def test_read__missing_image_names_the_row(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    rows = {"image": [{"bytes": BYTES[0], "path": None}, None], "label": ["sound", "sound"]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "set")
    with pytest.raises(UserError, match="row 1: no image"):
        read(DataConfig(format="huggingface", path=str(tmp_path / "set")), TWO, tmp_path / "store")


def test_read__column_without_images(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"image": [1, 2], "label": ["sound", "broken"]}).save_to_disk(tmp_path / "set")
    with pytest.raises(UserError, match="column image holds no images"):
        read(DataConfig(format="huggingface", path=str(tmp_path / "set")), TWO, tmp_path / "store")


def test_read__missing_column_and_unknown_split(tmp_path: Path) -> None:
    part = dataset_of(["sound"], datasets.Value("string"))
    part.save_to_disk(tmp_path / "set")
    config = DataConfig(format="huggingface", path=str(tmp_path / "set"), label_column="grade")
    with pytest.raises(UserError, match="no column grade; it has image, label"):
        read(config, TWO, tmp_path)
    datasets.DatasetDict({"dev": part}).save_to_disk(tmp_path / "dict")
    with pytest.raises(UserError, match="split 'dev' is none of"):
        read(DataConfig(format="huggingface", path=str(tmp_path / "dict")), TWO, tmp_path)


@pytest.mark.parametrize("path", ["nobody/nothing-here", ""])
def test_read__what_cannot_be_had(tmp_path: Path, path: str) -> None:
    """No network in the tests: a Hub id is answered at once."""
    (tmp_path / "plain").mkdir()
    for source in (path, str(tmp_path / "plain")):
        with pytest.raises(UserError, match=r"data\.path: no dataset could be loaded"):
            read(DataConfig(format="huggingface", path=source), LabelSet(("a", "b"), "nominal"), tmp_path)
