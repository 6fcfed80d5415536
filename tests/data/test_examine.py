from typing import Any

import numpy as np

from data.audit import Examples, Refusal, Refusals, SampleSize, Sizes, SmallClass
from data.examine import examine
from data.labels import LabelSet
from data.manifest import CONFLICT, DUPLICATE
from tests.data.audits import audited, built
from tests.support import TWO

MANY = LabelSet(("cat", "dog"), "multilabel")


def sizes_of(changes: dict[int, dict[str, Any]], count: int = 12) -> Sizes:
    sizes = audited(TWO, changes, count).sizes
    assert sizes is not None
    return sizes


def test_examine__counts_by_label_and_split() -> None:
    facts = audited(TWO, {0: {"split": "test"}, 2: {"split": "test"}, 3: {"split": "unlabeled", "target": None}})
    assert facts.images["train"] == {"sound": 4, "broken": 5}
    assert facts.images["test"] == {"sound": 2, "broken": 0}
    assert facts.images["unlabeled"] == {"sound": 0, "broken": 0}
    assert facts.totals == {"train": 9, "val": 0, "calibration": 0, "test": 2, "unlabeled": 1}


def test_examine__multilabel_counts_every_label_and_rows_without_any() -> None:
    facts = audited(MANY, {0: {"target": [1.0, 1.0]}, 1: {"target": [0.0, 0.0]}, 2: {"target": [0.4, 0.6]}}, count=3)
    assert facts.images["train"] == {"cat": 1, "dog": 2}
    assert facts.totals["train"] == 3


def test_examine__says_why_rows_take_no_part() -> None:
    changes = {
        0: {"status": f"{DUPLICATE}/images/0001.png"},
        1: {"status": CONFLICT},
        2: {"status": CONFLICT},
        3: {"status": "empty file"},
    }
    facts = audited(TWO, changes)
    assert facts.duplicates.images == 1
    assert facts.conflicts.images == 2
    assert facts.refused == Refusals(1, [Refusal("/images/0003.png", "empty file")])
    assert facts.totals["train"] == 8


def test_examine__small_classes_and_test_images_needed() -> None:
    facts = audited(TWO, {number: {"split": "test"} for number in range(40)}, count=100)
    assert facts.test == SampleSize(40, 0.99, 0.95, 299)
    assert facts.small_classes == [
        SmallClass("sound", "test", 20),
        SmallClass("broken", "test", 20),
    ]


def test_examine__test_images_of_one_group_count_once() -> None:
    changes = {number: {"split": "test", "group": "one"} for number in range(4)}
    assert audited(TWO, changes).test.images == 1


def test_examine__votes_that_disagree() -> None:
    changes = {
        0: {"votes": [3.0, 0.0], "target": [1.0, 0.0]},
        1: {"votes": [1.0, 2.0], "target": [1 / 3, 2 / 3]},
        2: {"votes": [2.0, 2.0], "target": [0.5, 0.5]},
    }
    audit = audited(TWO, changes)
    votes = audit.votes
    assert votes.most is not None
    assert (votes.images, votes.disagree) == (3, 2)
    assert [row.uri for row in votes.most] == ["/images/0002.png", "/images/0001.png"]
    assert votes.most[1].votes == {"sound": 1.0, "broken": 2.0}
    assert audit.tied == {"train": 1, "val": 0, "calibration": 0, "test": 0, "unlabeled": 0}
    assert audit.images["train"] == {"sound": 5, "broken": 6}


def test_examine__sizes_that_tell_labels() -> None:
    plain = sizes_of({number: {"width": 48 + number % 4} for number in range(200)}, count=200)
    telling = {number: {"width": 64 if number % 2 else 48} for number in range(200)}
    sizes = sizes_of(telling, count=200)
    assert {row.label for row in sizes.tell_labels} == {"sound", "broken"}
    assert plain.distinct == 4
    independent = {number: {"width": 48 + number // 2 % 4} for number in range(200)}
    assert sizes_of(independent, count=200).tell_labels == []


def test_examine__extreme_aspects_and_tiny_images() -> None:
    sizes = sizes_of({0: {"width": 400, "height": 48}, 1: {"width": 9, "height": 9}})
    assert sizes.extreme_aspect == Examples(1, ["/images/0000.png"])
    assert sizes.tiny == Examples(1, ["/images/0001.png"])
    assert sizes.shorter_side.least == 9


def test_examine__leakage() -> None:
    manifest, groups = built(TWO, {})
    facts = examine(manifest, groups, np.arange(12) < 2, None)
    assert facts.leakage == Examples(2, ["/images/0000.png", "/images/0001.png"])
    assert facts.test == SampleSize(0)
