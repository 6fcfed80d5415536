import json
from pathlib import Path
from typing import Any

import pytest

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.formats.jsonl import read
from data.readers.record import Record
from data.readers.source import Source
from run.errors import UserError
from tests.support import TWO

MANY = LabelSet(("sound", "broken"), "multilabel")


def records(folder: Path, content: str | bytes, labels: LabelSet | None = TWO, **settings: Any) -> list[Record]:
    path = folder / "labels.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read(Source(SourceConfig(format="jsonl", path=str(path), **settings), labels, folder)))


def test_read__a_row_per_line(tmp_path: Path) -> None:
    content = (
        '\ufeff{"image": "a.png", "label": "broken", "who": 7}\r\n\r\n{"image": "ö.png", "label": "sound", "who": null}'
    )
    found = records(tmp_path, content, group_column="who")
    assert [(r.uri, r.target, r.group, r.where) for r in found] == [
        (str(tmp_path / "a.png"), (0.0, 1.0), "7", "labels.jsonl, line 1"),
        (str(tmp_path / "ö.png"), (1.0, 0.0), None, "labels.jsonl, line 3"),
    ]


def test_read__lists_of_labels(tmp_path: Path) -> None:
    cells: list[object] = [["broken", "sound"], [], "sound;broken"]
    content = "\n".join(json.dumps({"image": "a.png", "label": cell}) for cell in cells)
    assert [r.target for r in records(tmp_path, content, MANY)] == [(1.0, 1.0), (0.0, 0.0), (1.0, 1.0)]


def test_read__probabilities(tmp_path: Path) -> None:
    content = '{"image": "a", "s": 0.9, "b": 0.5}'
    settings: dict[str, Any] = {"label_columns": ["s", "b"], "label_columns_hold": "probabilities"}
    assert [r.target for r in records(tmp_path, content, MANY, **settings)] == [(0.9, 0.5)]
    with pytest.raises(UserError, match=r"line 1: probabilities .* sum to 1.4"):
        records(tmp_path, content, **settings)
    with pytest.raises(UserError, match=r"label_columns_hold votes does not fit labels.kind multilabel"):
        records(tmp_path, content, MANY, label_columns=["s", "b"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no rows: the file is empty"),
        ('{"image": "a", "label": "sound"}\n{"image": "b", "label": }\n', "line 2: not JSON"),
        ('{"image": "a", "label": "sound"}\n["b", "sound"]\n', "line 2: a JSON object is needed.* not list"),
        ('{"image": "a", "lable": "sound"}', "line 1: no 'label'; it has 'image', 'lable'"),
        ('{"image": "a", "label": null}', "line 1: no label"),
        ('{"image": true, "label": "sound"}', "line 1: no image path, but True"),
        ('{"image": "a", "label": "sound", "label": "broken"}', "line 1: not JSON .a key stands there twice"),
        ('{"image": "a", "label": 1}', "line 1: label 1 is no text"),
        (b'{"image": "a\xff", "label": "sound"}', r"line 1 is not UTF-8 \(byte 12\)"),
        ("[" * 100_000, "line 1: not JSON"),
        ("x\ny\n", "(?s)2 problems:.*line 1.*line 2"),
    ],
)
def test_read__wrong_lines(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        records(tmp_path, content)
