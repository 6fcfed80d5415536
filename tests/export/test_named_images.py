import io
import os
from pathlib import Path

import pytest

from export.named_images import named_images
from run.errors import UserError
from tests.support import picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "a b.png", "deep/c.png"):
        picture().save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    return tmp_path


def test_named_images__files_folders_and_patterns(folder: Path) -> None:
    every = [str(folder / name) for name in ("a b.png", "b.png", "deep/c.png")]
    assert named_images([str(folder)]) == every
    assert named_images([f"{folder}/*.png"]) == every[:2]
    assert named_images([f"{folder}/**/c.png", every[0]]) == [every[2], every[0]]
    assert named_images([f"{folder}/d*"]) == every[2:], "a folder that a pattern finds is walked"


def test_named_images__a_name_with_brackets_is_a_name_first(folder: Path) -> None:
    picture().save(folder / "[1].png")
    assert named_images([f"{folder}/[1].png"]) == [f"{folder}/[1].png"]


@pytest.mark.parametrize("data", [b"x.png\ny z.png\r\n\n", b"x.png\0y z.png\0"])
def test_named_images__on_standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert list(named_images(["-"])) == ["x.png", "y z.png"]


def test_named_images__bytes_that_are_no_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff.png\n")))
    assert [os.fsencode(name) for name in named_images(["-"])] == [b"\xff.png"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("no*.png", r"'.*/no\*\.png' is neither a file nor a folder"), ("notes.txt", None), ("deep/none", "is neither a")],
)
def test_named_images__nothing_there(folder: Path, name: str, message: str | None) -> None:
    if message is None:  # a file that is named is taken, whatever it is
        assert named_images([str(folder / name)]) == [str(folder / name)]
        return
    with pytest.raises(UserError, match=message):
        named_images([str(folder / name)])
