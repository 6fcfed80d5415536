import pytest

from data.labels import LabelSet
from data.manifest import Manifest
from models.labelled import labelled_rows
from run.errors import UserError
from tests import support

LABELS = LabelSet(("a", "b"), "multilabel")


def manifest(*targets: list[float] | None) -> Manifest:
    rows = support.rows_of([path for path, _ in support.elpv_rows()[: len(targets)]], LABELS, "test")
    return Manifest.of(LABELS, [{**row, "target": target} for row, target in zip(rows, targets, strict=True)])


def test_labelled_rows__none_that_applies_is_a_label_too() -> None:
    found = labelled_rows(manifest([1, 0], None, [0, 0], None), "test")
    assert sorted(found.targets().tolist()) == [[0, 0], [1, 0]]


def test_labelled_rows__a_split_without_any() -> None:
    with pytest.raises(UserError, match=r"the test split has no images with labels: add some, or raise data.splits"):
        labelled_rows(manifest(None, None), "test")
