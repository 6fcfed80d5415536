from pathlib import Path

import pytest

from data.walk import Walk, kind_of
from tests.support import encoded, picture

HEIC = b"\0\0\0\x18ftypheic" + bytes(20)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        *((encoded(picture(), name), "picture") for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")),
        (b"\0\0\0\x1cftypavif" + bytes(20), "unread"),
        (HEIC, "picture"),
        (b"\0\0\0\x20ftypisom" + bytes(20), "other"),
        (b"8BPS" + bytes(28), "unread"),
        (b"%PDF-1.7", "other"),
        (b"", "other"),
    ],
)
@pytest.mark.parametrize("ending", ["", ".photo", ".001"])
def test_kind_of__by_content_whatever_the_ending(tmp_path: Path, data: bytes, kind: str, ending: str) -> None:
    path = tmp_path / f"frame{ending}"
    path.write_bytes(data)
    assert kind_of(str(path)) == kind


def test_kind_of__heic_where_it_cannot_be_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.walk.reads_heic", lambda: False)
    (tmp_path / "frame").write_bytes(HEIC)
    assert kind_of(str(tmp_path / "frame")) == "unread"


def test_walk__folders_left_out_are_not_walked_and_all_names_are_met(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/b/2.png", "skip/3.png", ".git/4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    met: set[str] = set()
    walk = Walk(leave_out=["skip"], met=met)
    assert [Path(found.uri).name for found in walk.pictures(str(tmp_path))] == ["1.png", "2.png"]
    assert met == {"a", "b", "skip"}
    assert walk.lines() == ["1 file that other programs made left alone: 1 in .git"]
