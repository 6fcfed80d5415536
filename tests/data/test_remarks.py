from typing import Any

import pytest

from data.remarks import show
from tests.data.audits import audited
from tests.support import TWO


def test_show__table_and_remarks(capsys: pytest.CaptureFixture[str]) -> None:
    changes: dict[int, dict[str, Any]] = {0: {"status": "empty file"}, 1: {"split": "unlabeled", "target": None}}
    show(audited(TWO, changes))
    printed = capsys.readouterr()
    assert "unlabeled" in printed.out
    assert "1 file takes no part, the first: /images/0000.png: empty file" in printed.err
    assert "tie" not in printed.err
    assert "0 test images cannot show an agreement of 99.0%: 299 are needed" in printed.err


def test_show__votes_that_tie(capsys: pytest.CaptureFixture[str]) -> None:
    show(audited(TWO, {0: {"target": [0.5, 0.5], "split": "test"}, 1: {"target": [0.5, 0.5]}}))
    assert "2 images have no single true label, because votes tie (1 in train, 1 in test)" in capsys.readouterr().err
