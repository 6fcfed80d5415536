import json
from pathlib import Path
from typing import Any

import pytest

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.formats.coco import read
from data.readers.record import Record
from data.readers.source import Source
from run.errors import UserError
from tests.support import TWO

MANY = LabelSet(("sound", "broken"), "multilabel")
CATEGORIES = [{"id": 90, "name": "broken"}, {"id": 7, "name": "sound"}, {"id": 0, "name": "unused"}]


def coco(*rows: tuple[str, list[int]], **more: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 100 + n, "file_name": name} for n, (name, _) in enumerate(rows)],
        "annotations": [
            {"id": 10 * n + k, "image_id": 100 + n, "category_id": category, "bbox": [0, 0, 1, 1]}
            for n, (_, categories) in enumerate(rows)
            for k, category in enumerate(categories)
        ],
        "categories": CATEGORIES,
        **more,
    }


def records(folder: Path, value: object, labels: LabelSet | None = TWO, **settings: Any) -> list[Record]:
    path = folder / "instances.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return list(read(Source(SourceConfig(**{"format": "coco", "path": str(path), **settings}), labels, folder)))


def test_read__categories_go_by_name(tmp_path: Path) -> None:
    found = records(tmp_path, coco(("a.png", [90]), ("b.png", [7, 7])))
    assert [(r.uri, r.target, r.where) for r in found] == [
        (str(tmp_path / "a.png"), (0.0, 1.0), "instances.json, image 100"),
        (str(tmp_path / "b.png"), (1.0, 0.0), "instances.json, image 101"),
    ]


def test_read__several_categories_or_none(tmp_path: Path) -> None:
    value = coco(("a.png", [90, 7]), ("b.png", []))
    assert [r.target for r in records(tmp_path, value, MANY)] == [(1.0, 1.0), (0.0, 0.0)]
    assert [r.target for r in records(tmp_path, value, None)] == [None, None]
    with pytest.raises(UserError, match=r"(?s)2 problems:.*image 100: 2 labels.*image 101: 0 labels"):
        records(tmp_path, value)


def test_read__split_folders_as_roboflow_writes_them(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(coco((f"{split}.png", [7]))))
    found = records(tmp_path, "", path=str(tmp_path))
    assert {(r.uri, r.split, r.where) for r in found} == {
        (str(tmp_path / folder / f"{folder}.png"), split, f"{folder}/_annotations.coco.json, image 100")
        for folder, split in (("train", "train"), ("valid", "val"), ("test", "test"))
    }


def test_read__splits_and_groups_beside_the_image(tmp_path: Path) -> None:
    value = coco(("a.png", [7]), ("b.png", []))
    value["images"][0] |= {"part": "test", "who": 7}
    value["images"][1] |= {"part": "unlabeled"}
    found = records(tmp_path, value, split_column="part", group_column="who")
    assert [(r.target, r.split, r.group) for r in found] == [((1.0, 0.0), "test", "7"), (None, "unlabeled", None)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "is empty"),
        ("[]", "no COCO file"),
        ('{"images": [],\n"annotations": ]}', "line 2: not JSON"),
        (coco(), "no images"),
        (coco(("a.png", [7]), categories=None), "categories must be a list"),
        (coco(("a.png", [8])), "an annotation names no category that is there"),
        (coco(("a.png", [7]), annotations=[{"image_id": [1], "category_id": 7}]), "names no image that is there"),
        (coco(("a.png", [7]), annotations=[{"image_id": 5, "category_id": 7}]), "names no image that is there"),
        (coco(("a.png", [7]), images=[{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]), "the id 1 twice"),
        (coco(("a.png", [7]), images=[{"file_name": "a"}], annotations=[]), "images has no id"),
        (coco(("a.png", [0])), "image 100: label 'unused' is not in labels.names"),
        (coco(("../a.png", [7])), "image 100: image '../a.png' lies outside"),
        (coco(("a.png", [7]), images=[{"id": 100}]), "image 100: no image path"),
    ],
)
def test_read__wrong_files(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        records(tmp_path, value)
