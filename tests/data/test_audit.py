import json
from pathlib import Path
from typing import Any

import pytest

from data.audit import Audit, Promise
from data.labels import LabelSet
from run.errors import UserError
from tests.data.audits import audited
from tests.support import FOUR, TWO


def test_promise__images() -> None:
    assert [Promise(target, 0.95).images for target in (0.99, 0.995, 0.999)] == [299, 598, 2995]


def test_promise__how_many_may_differ() -> None:
    promise = Promise(0.95, 0.95)
    assert [promise.may_differ(images) for images in (0, 58, 59, 92, 93, 505)] == [None, None, 0, 0, 1, 16]


CHANGES: dict[int, dict[str, Any]] = {
    0: {"votes": [1.0, 2.0], "target": [1 / 3, 2 / 3]},
    1: {"status": "empty file"},
    2: {"width": 9, "height": 9},
    3: {"split": "unlabeled", "target": None},
}


@pytest.mark.parametrize("changes", [{}, CHANGES])
def test_write__reads_back(tmp_path: Path, changes: dict[int, dict[str, Any]]) -> None:
    audit = audited(TWO, changes)
    audit.write(tmp_path / "audit.json")
    assert Audit.read(tmp_path / "audit.json") == audit


def test_write__what_does_not_apply_is_left_out(tmp_path: Path) -> None:
    audited(TWO, {}).write(tmp_path / "audit.json")
    stored = json.loads((tmp_path / "audit.json").read_text())
    assert stored["format"] == 3
    assert stored["votes"] == {"images": 0}
    assert stored["test"] == {"images": 0, "agreement": 0.99, "confidence": 0.95, "needed": 299}


@pytest.mark.parametrize(
    ("splits", "labels", "message"),
    [
        (("train", "val", "calibration"), TWO, "the test split has no images: add images, or raise data.splits.test"),
        (("test",), TWO, "the train split has no images: add images, or lower the shares in data.splits"),
        (("train", "val", "calibration", "test"), FOUR, "no training images for doubtful"),
    ],
)
def test_require_images__refuses(splits: tuple[str, ...], labels: LabelSet, message: str) -> None:
    changes = {number: {"split": splits[number % len(splits)]} for number in range(12)}
    with pytest.raises(UserError, match=message):
        audited(labels, changes).require_images()
