from collections import Counter
from pathlib import Path

import pytest

from data.config import DataConfig
from data.labels import LabelSet
from data.readers.formats.elpv import read
from data.readers.source import Source
from run.errors import UserError
from tests.support import FOUR


def test_read__all_images_of_all_four_classes(tmp_path: Path) -> None:
    records = list(read(Source(DataConfig(format="elpv"), FOUR, tmp_path)))
    assert len(records) == len({record.uri for record in records}) == 2624
    assert Counter(record.target.index(1.0) for record in records if record.target) == {0: 1508, 1: 295, 2: 106, 3: 715}
    assert all(Path(record.uri).is_file() for record in records)


def test_read__two_labels_share_the_likelihood(tmp_path: Path) -> None:
    records = list(read(Source(DataConfig(format="elpv"), LabelSet(("functional", "defective"), "ordinal"), tmp_path)))
    assert Counter(record.target for record in records) == {
        (1.0, 0.0): 1508,
        (1 - 1 / 3, 1 / 3): 295,
        (1 - 2 / 3, 2 / 3): 106,
        (0.0, 1.0): 715,
    }


@pytest.mark.parametrize("labels", [LabelSet(("a", "b", "c"), "nominal"), LabelSet(("a", "b"), "multilabel")])
def test_read__other_labels_than_two_or_four(tmp_path: Path, labels: LabelSet) -> None:
    with pytest.raises(UserError, match=rf"two labels that share them, or four .* has {len(labels)} labels"):
        list(read(Source(DataConfig(format="elpv"), labels, tmp_path)))


def test_read__a_pool_has_no_labels(tmp_path: Path) -> None:
    records = list(read(Source(DataConfig(format="elpv"), None, tmp_path)))
    assert len(records) == 2624
    assert {record.target for record in records} == {None}
