import numpy as np
import pyarrow as pa

from data.groups import Groups
from data.labels import LabelSet
from data.manifest import CONFLICT, SPLITS, TORN
from data.splits import NONE
from data.statuses import statuses

TRAIN, VAL, TEST, POOL = (SPLITS.index(name) for name in ("train", "val", "test", "unlabeled"))
A, B = [1.0, 0.0], [0.0, 1.0]


def found(*rows: tuple[str, int, int, list[float] | None, int], refused: tuple[int, ...] = ()) -> list[str]:
    """Statuses of rows (image_id, pixels, near, target, split), which are named by their number."""
    images, pixels, near, targets, split = (list(column) for column in zip(*rows, strict=True))
    count = len(rows)
    table = pa.table(
        {
            "uri": [str(row) for row in range(count)],
            "image_id": images,
            "target": pa.array(targets, pa.list_(pa.float32())),
            "status": ["broken" if row in refused else "ok" for row in range(count)],
        }
    )
    numbers = np.array(pixels, np.int64)
    names = pa.array([str(number) for number in range(count)])
    groups = Groups(pixels=numbers, near=np.array(near, np.int32), group=numbers.astype(np.int32), names=names)
    return statuses(table, groups, np.array(split, np.int8), LabelSet(("a", "b"), "nominal"))


def test_statuses__equal_bytes_once_and_equal_pixels_as_often_as_they_come() -> None:
    rows = [("x", 0, 0, A, TRAIN), ("y", 0, 0, A, TRAIN), ("x", 0, 0, A, TRAIN)]
    assert found(*rows) == ["ok", "ok", "duplicate of 0"]


def test_statuses__equal_bytes_in_two_splits_stay() -> None:
    """The source said so, and leakage was allowed."""
    assert found(("x", 0, 0, A, TRAIN), ("x", 0, 0, A, TEST)) == ["ok", "ok"]


def test_statuses__one_picture_with_two_labels() -> None:
    rows = [("x", 0, 0, A, TRAIN), ("y", 0, 0, B, TRAIN), ("z", 1, 0, B, TRAIN), ("x", 0, 0, A, TRAIN)]
    a, b = f"{CONFLICT}: a here, b in 1", f"{CONFLICT}: b here, a in 0"
    assert found(*rows) == [a, b, "ok", a]


def test_statuses__a_refused_row_stands_for_nothing() -> None:
    rows = [("x", 0, 0, A, TRAIN), ("x", 0, 0, B, TRAIN), ("x", 0, 0, A, TRAIN)]
    assert found(*rows, refused=(1,)) == ["ok", "broken", "duplicate of 0"]
    assert found(*rows, refused=(0, 1)) == ["broken", "broken", "ok"]


def test_statuses__a_row_without_a_right_split() -> None:
    assert found(("x", 0, 0, A, TRAIN), ("y", 1, 1, A, NONE)) == ["ok", TORN]


def test_statuses__the_pool_gives_way_to_labeled_images_and_to_what_is_near_held_out_ones() -> None:
    rows = [
        ("p", 0, 0, None, POOL),  # the same pixels as 5
        ("q", 1, 1, None, POOL),  # near 6, which is held out
        ("r", 2, 2, None, POOL),  # near 7, which is trained on
        ("s", 3, 3, None, POOL),
        ("s", 3, 3, None, POOL),
        ("t", 0, 9, A, TRAIN),
        ("u", 5, 1, A, VAL),
        ("v", 6, 2, B, TRAIN),
    ]
    assert found(*rows) == ["duplicate of 5", "near-duplicate of 6", "ok", "ok", "duplicate of 3", "ok", "ok", "ok"]
