from collections import Counter
from pathlib import Path

import pytest

from data.config import DataConfig
from data.readers.formats.elpv import read
from data.readers.source import Source
from run.errors import UserError
from tests.support import FOUR, TWO


def test_read__all_images_of_all_four_classes(tmp_path: Path) -> None:
    records = list(read(Source(DataConfig(format="elpv"), FOUR, tmp_path)))
    assert len(records) == len({record.uri for record in records}) == 2624
    assert Counter(record.target.index(1.0) for record in records if record.target) == {0: 1508, 1: 295, 2: 106, 3: 715}
    assert all(Path(record.uri).is_file() for record in records)


def test_read__needs_four_labels(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labels\.names has 2 labels"):
        list(read(Source(DataConfig(format="elpv"), TWO, tmp_path)))


def test_read__a_pool_has_no_labels(tmp_path: Path) -> None:
    records = list(read(Source(DataConfig(format="elpv"), None, tmp_path)))
    assert len(records) == 2624
    assert {record.target for record in records} == {None}
