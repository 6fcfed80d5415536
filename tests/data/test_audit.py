from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.audit import Promise, audit, require_images, show
from data.groups import Groups, find_groups
from data.labels import LabelSet
from data.manifest import CONFLICT, DUPLICATE, Manifest
from run.errors import UserError
from tests.support import FOUR, TWO, rows_of

MANY = LabelSet(("cat", "dog"), "multilabel")


def built(labels: LabelSet, changes: dict[int, dict[str, Any]], count: int = 12) -> tuple[Manifest, Groups]:
    """Rows 00 to ``count``, labeled in turn, with some of their cells changed."""
    rows = rows_of([Path(f"/images/{number:04}.png") for number in range(count)], labels)
    for number, cells in changes.items():
        rows[number].update(cells)
    manifest = Manifest.of(labels, rows)
    table = manifest.table.append_column("pixels", manifest.table.column("image_id"))
    table = table.append_column("phash", pa.array(np.arange(count, dtype=np.uint64) * np.uint64(0x0F0F0F0F0F0F0F0F)))
    return manifest, find_groups(table, near_bits=0, join_near=False)


def found(labels: LabelSet, changes: dict[int, dict[str, Any]], count: int = 12) -> dict[str, Any]:
    manifest, groups = built(labels, changes, count)
    return dict(audit(manifest, groups, np.zeros(count, bool), Promise(0.99, 0.95)))


def test_promise__images() -> None:
    assert [Promise(target, 0.95).images for target in (0.99, 0.995, 0.999)] == [299, 598, 2995]


def test_audit__counts_by_label_and_split() -> None:
    facts = found(TWO, {0: {"split": "test"}, 2: {"split": "test"}, 3: {"split": "unlabeled", "target": None}})
    assert facts["images"]["train"] == {"sound": 4, "broken": 5}
    assert facts["images"]["test"] == {"sound": 2, "broken": 0}
    assert facts["images"]["unlabeled"] == {"sound": 0, "broken": 0}
    assert facts["totals"] == {"train": 9, "val": 0, "calibration": 0, "test": 2, "unlabeled": 1}


def test_audit__multilabel_counts_every_label_and_rows_without_any() -> None:
    facts = found(MANY, {0: {"target": [1.0, 1.0]}, 1: {"target": [0.0, 0.0]}, 2: {"target": [0.4, 0.6]}}, count=3)
    assert facts["images"]["train"] == {"cat": 1, "dog": 2}
    assert facts["totals"]["train"] == 3


def test_audit__says_why_rows_take_no_part() -> None:
    changes = {
        0: {"status": f"{DUPLICATE}/images/0001.png"},
        1: {"status": CONFLICT},
        2: {"status": CONFLICT},
        3: {"status": "empty file"},
    }
    facts = found(TWO, changes)
    assert facts["duplicates"]["images"] == 1
    assert facts["conflicts"]["images"] == 2
    assert facts["refused"] == {"images": 1, "examples": [{"uri": "/images/0003.png", "reason": "empty file"}]}
    assert facts["totals"]["train"] == 8


def test_audit__small_classes_and_test_images_needed() -> None:
    facts = found(TWO, {number: {"split": "test"} for number in range(40)}, count=100)
    assert facts["test"] == {"images": 40, "agreement": 0.99, "confidence": 0.95, "needed": 299}
    assert facts["small_classes"] == [
        {"label": "sound", "split": "test", "images": 20},
        {"label": "broken", "split": "test", "images": 20},
    ]


def test_audit__test_images_of_one_group_count_once() -> None:
    changes = {number: {"split": "test", "group": "one"} for number in range(4)}
    assert found(TWO, changes)["test"]["images"] == 1


def test_audit__votes_that_disagree() -> None:
    changes = {
        0: {"votes": [3.0, 0.0], "target": [1.0, 0.0]},
        1: {"votes": [1.0, 2.0], "target": [1 / 3, 2 / 3]},
        2: {"votes": [2.0, 2.0], "target": [0.5, 0.5]},
    }
    votes = found(TWO, changes)["votes"]
    assert (votes["images"], votes["disagree"]) == (3, 2)
    assert [row["uri"] for row in votes["most"]] == ["/images/0002.png", "/images/0001.png"]
    assert votes["most"][1]["votes"] == {"sound": 1.0, "broken": 2.0}


def test_audit__sizes_that_tell_labels() -> None:
    plain = found(TWO, {number: {"width": 48 + number % 4} for number in range(200)}, count=200)["sizes"]
    telling = {number: {"width": 64 if number % 2 else 48} for number in range(200)}
    sizes = found(TWO, telling, count=200)["sizes"]
    assert {row["label"] for row in sizes["tell_labels"]} == {"sound", "broken"}
    assert plain["distinct"] == 4
    independent = {number: {"width": 48 + number // 2 % 4} for number in range(200)}
    assert found(TWO, independent, count=200)["sizes"]["tell_labels"] == []


def test_audit__extreme_aspects_and_tiny_images() -> None:
    sizes = found(TWO, {0: {"width": 400, "height": 48}, 1: {"width": 9, "height": 9}})["sizes"]
    assert sizes["extreme_aspect"] == {"images": 1, "examples": ["/images/0000.png"]}
    assert sizes["tiny"] == {"images": 1, "examples": ["/images/0001.png"]}
    assert sizes["shorter_side"]["least"] == 9


def test_audit__leakage() -> None:
    manifest, groups = built(TWO, {})
    facts: dict[str, Any] = dict(audit(manifest, groups, np.arange(12) < 2, None))
    assert facts["leakage"] == {"images": 2, "examples": ["/images/0000.png", "/images/0001.png"]}
    assert facts["test"] == {"images": 0}


@pytest.mark.parametrize(
    ("splits", "labels", "message"),
    [
        (("train", "val", "calibration"), TWO, "the test split has no images"),
        (("train", "val", "calibration", "test"), FOUR, "no training images for doubtful"),
    ],
)
def test_require_images__refuses(splits: tuple[str, ...], labels: LabelSet, message: str) -> None:
    changes = {number: {"split": splits[number % len(splits)]} for number in range(12)}
    with pytest.raises(UserError, match=message):
        require_images(found(labels, changes), labels.names)


def test_show__table_and_remarks(capsys: pytest.CaptureFixture[str]) -> None:
    changes: dict[int, dict[str, Any]] = {0: {"status": "empty file"}, 1: {"split": "unlabeled", "target": None}}
    show(found(TWO, changes))
    printed = capsys.readouterr()
    assert "unlabeled" in printed.out
    assert "1 files take no part, the first: /images/0000.png: empty file" in printed.err
    assert "0 test images cannot show an agreement of 99.0%: 299 are needed" in printed.err
