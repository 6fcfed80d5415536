import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.labels import LabelSet
from data.manifest import Manifest
from run.errors import UserError
from tests.support import TWO, elpv_rows, rows_of

PATHS = [Path(f"/images/{name}.png") for name in "abcdef"]


def test_of__the_order_of_reading_does_not_matter(tmp_path: Path) -> None:
    rows = rows_of(PATHS, TWO)
    for name, given in (("a", rows), ("b", rows[::-1])):
        Manifest.of(TWO, given).write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_read__gives_back_what_was_written(tmp_path: Path) -> None:
    manifest = Manifest.of(TWO, rows_of(PATHS, TWO))
    manifest.write(tmp_path / "manifest.parquet")
    assert Manifest.read(tmp_path / "manifest.parquet", TWO).table.equals(manifest.table)


@pytest.mark.parametrize("labels", [LabelSet(TWO.names[::-1], TWO.kind), LabelSet(TWO.names, "ordinal")])
def test_read__another_label_set_is_refused(tmp_path: Path, labels: LabelSet) -> None:
    Manifest.of(TWO, rows_of(PATHS, TWO)).write(tmp_path / "manifest.parquet")
    with pytest.raises(UserError, match="was made for the labels"):
        Manifest.read(tmp_path / "manifest.parquet", labels)


def test_read__missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `pocketeva prepare` first"):
        Manifest.read(tmp_path / "manifest.parquet", TWO)


def test_usable__only_rows_that_are_ok_in_these_splits() -> None:
    rows = rows_of(PATHS, TWO)
    for row, split, status in zip(
        rows, ("train", "train", "val", "test", "test", "unlabeled"), ("ok", "bad", "ok", "ok", "ok", "ok"), strict=True
    ):
        row.update(split=split, status=status)
    manifest = Manifest.of(TWO, rows)
    assert manifest.usable("train").column("image_id") == ["a"]
    assert manifest.usable("train", "unlabeled").column("image_id") == ["a", "f"]
    assert len(manifest.usable("calibration")) == 0
    assert manifest.usable("calibration").targets().shape == (0, 2)


def test_targets__unlabeled_rows_are_zero() -> None:
    rows = rows_of(PATHS[:3], TWO)
    rows[1]["target"] = None
    targets = Manifest.of(TWO, rows).targets()
    assert targets.dtype == np.float32
    assert targets.tolist() == [[1, 0], [0, 0], [1, 0]]


def test_digest__of_what_the_splits_teach() -> None:
    def digest(labels: LabelSet = TWO, **changes: Any) -> str:
        rows = rows_of(PATHS[:4], labels)
        rows[3]["split"] = "test"
        rows[0].update(changes)
        return Manifest.of(labels, rows).digest("train")

    assert digest() == digest(width=9) == digest(votes=[1.0, 2.0])
    moved = [{**row, "uri": f"/moved/{row['uri']}"} for row in rows_of(PATHS[:3], TWO)]
    assert Manifest.of(TWO, moved).digest("train") == digest()
    changes: list[dict[str, Any]] = [
        {"target": [0.5, 0.5]}, {"target": None}, {"group": "g"}, {"image_id": "z"}, {"split": "val"}, {"status": "bad"}
    ]  # fmt: skip
    digests = [digest(), digest(LabelSet(TWO.names, "ordinal")), *(digest(**change) for change in changes)]
    assert len(set(digests)) == 1 + 1 + 5, "moving a row out of train and refusing it come to the same"
    rows = rows_of(PATHS[:4], TWO)
    assert Manifest.of(TWO, [{**row, "split": "test"} for row in rows]).digest("train") not in digests


MULTILABEL = LabelSet(("a", "b"), "multilabel")


def multilabel_manifest(*targets: list[float] | None) -> Manifest:
    rows = rows_of([path for path, _ in elpv_rows()[: len(targets)]], MULTILABEL, "test")
    return Manifest.of(MULTILABEL, [{**row, "target": target} for row, target in zip(rows, targets, strict=True)])


def test_labeled_rows__none_that_applies_is_a_label_too() -> None:
    found = multilabel_manifest([1, 0], None, [0, 0], None).labeled_rows("test")
    assert sorted(found.targets().tolist()) == [[0, 0], [1, 0]]


def test_labeled_rows__a_split_without_any() -> None:
    with pytest.raises(UserError, match=r"the test split has no images with labels: add some, or raise data.splits"):
        multilabel_manifest(None, None).labeled_rows("test")


def test_digest__of_images_that_change_places_between_two_splits() -> None:
    """The same images with the same targets, but another one is learnt from and another one validated on."""
    rows = rows_of(PATHS[:2], TWO)
    here = [{**row, "split": split} for row, split in zip(rows, ("train", "val"), strict=True)]
    there = [{**row, "split": split} for row, split in zip(rows, ("val", "train"), strict=True)]
    assert Manifest.of(TWO, here).digest("train", "val") != Manifest.of(TWO, there).digest("train", "val")


@pytest.mark.parametrize(
    ("uri", "mode"),
    [("https://host/a.png?X-Amz-Signature=f00", 0o600), ("s3://bucket/a.png", 0o644), ("/a.png", 0o644)],
)
def test_write__addresses_that_let_people_in_are_for_this_user_alone(tmp_path: Path, uri: str, mode: int) -> None:
    rows = [{**row, "uri": uri} for row in rows_of(PATHS[:1], TWO)]
    before = os.umask(0o022)
    try:
        Manifest.of(TWO, rows).write(tmp_path / "manifest.parquet")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "manifest.parquet").stat().st_mode) == mode
    assert Manifest.read(tmp_path / "manifest.parquet", TWO).column("uri") == [uri]
