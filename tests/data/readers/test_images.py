import ntpath
from pathlib import Path
from typing import Any

import pytest

from data.config import SourceConfig
from data.readers.images import ImageRoot
from data.readers.source import Source
from run.errors import UserError


def root_at(start: str, *, limited: bool = True, **settings: Any) -> ImageRoot:
    return ImageRoot(
        Source(SourceConfig(**settings), None, Path("store"), key="data.unlabeled"), start, limited=limited
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "/data/set/a.png"),
        ("./in/../a.png", "/data/set/a.png"),
        ("../set/a.png", "/data/set/a.png"),
        ("/data/set/in/a.png", "/data/set/in/a.png"),
        ("file:///data/set/a.png", "/data/set/a.png"),
    ],
)
def test_locate__inside(name: str, expected: str) -> None:
    assert root_at("/data/set").locate(name, "here").uri == expected


@pytest.mark.parametrize(
    "name", ["../a.png", "/data/a.png", "/data/set2/a.png", "s3://b/a.png", "in/../../a.png", "..", "."]
)
def test_locate__outside_needs_leave(name: str) -> None:
    with pytest.raises(
        UserError, match=r"row 3: image .* lies outside the image root /data/set\. Set data\.unlabeled\.image_root"
    ):
        root_at("/data/set").locate(name, "row 3")
    assert root_at("/data/set", allow_outside=True).locate(name, "row 3")
    assert root_at("/data/set", limited=False).locate(name, "row 3")


@pytest.mark.parametrize("name", ["", None, True, float("nan"), "a\0.png"])
def test_locate__no_path(name: object) -> None:
    with pytest.raises(UserError, match="row 3: no image path"):
        root_at("/data/set", allow_outside=True).locate(name, "row 3")


def test_locate__on_windows(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.path", ntpath)
        patch.setattr("os.sep", "\\")
        root = ImageRoot(Source(SourceConfig(), None, tmp_path), "C:/set")
        found = [root.locate(image, "row 1").uri for image in (r"C:\set\a.jpg", "b.jpg", r"sub\c.jpg")]
        with pytest.raises(UserError, match="lies outside the image root C:/set"):
            root.locate(r"C:\settings\a.jpg", "row 1")
    assert found == ["C:/set/a.jpg", "C:/set/b.jpg", "C:/set/sub/c.jpg"]


def test_locate__image_root_is_the_start_and_the_limit() -> None:
    root = root_at("/labels", image_root="s3://bucket/images")
    assert root.locate("a.png", "").uri == "s3://bucket/images/a.png"
    assert root.locate("s3://bucket/images/b.png", "").uri == "s3://bucket/images/b.png"
    for name in (
        "s3://bucket/b.png",
        "../b.png",
        "s3://bucket/images/../b.png",
        "/labels/a.png",
        "s3://bucket/images2/a",
    ):
        with pytest.raises(UserError, match="outside the image root s3://bucket/images"):
            root.locate(name, "")


def test_locate__symbolic_links_do_not_lead_out(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "x.png").touch()
    (inside / "folder").symlink_to(outside)
    (inside / "file.png").symlink_to(outside / "x.png")
    (inside / "same.png").symlink_to(inside / "x.png")
    root = root_at(str(inside))
    for name in ("folder/x.png", "file.png", "folder/../../out/x.png"):
        with pytest.raises(UserError, match="outside the image root"):
            root.locate(name, "")
    assert root.locate("same.png", "").uri == str(inside / "same.png")
    assert root.locate("folder/../x.png", "").uri == str(inside / "x.png")


def test_locate__the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    root = root_at(str(tmp_path / "link"))
    assert root.locate("a.png", "").uri == str(tmp_path / "link" / "a.png")
    assert root.locate(str(tmp_path / "real" / "a.png"), "").uri == str(tmp_path / "real" / "a.png")
