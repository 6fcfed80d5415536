from pathlib import Path

import pytest

from data.config import SourceConfig
from data.readers.paths import ImageRoot, normal, parent
from run.errors import UserError


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/./b/../c.png", "/a/c.png"),
        ("file:///a/b%20c.png", "/a/b c.png"),
        ("S3://Bucket/a/../b//c.png", "s3://Bucket/b//c.png"),
        ("s3://bucket/../../other/c.png", "s3://bucket/other/c.png"),
        ("s3://bucket/%2e%2e/c?d.png", "s3://bucket/%2e%2e/c?d.png"),
        ("https://host/a/%2e%2E/b/./c.png?size=../1", "https://host/b/c.png?size=../1"),
    ],
)
def test_normal__dots_go_and_links_stay(path: str, expected: str) -> None:
    assert normal(path) == expected


def test_normal__relative_paths_start_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    assert normal("link/x.png") == str(tmp_path / "link" / "x.png")


@pytest.mark.parametrize(
    ("uri", "expected"), [("/a/b.csv", "/a"), ("s3://a/b/c.csv", "s3://a/b"), ("s3://a/c", "s3://a")]
)
def test_parent__of_paths_and_uris(uri: str, expected: str) -> None:
    assert parent(uri) == expected


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
    assert ImageRoot(SourceConfig(), "/data/set").locate(name, "here") == expected


@pytest.mark.parametrize(
    "name", ["../a.png", "/data/a.png", "/data/set2/a.png", "s3://b/a.png", "in/../../a.png", "..", "."]
)
def test_locate__outside_needs_leave(name: str) -> None:
    with pytest.raises(UserError, match=r"row 3: image .* lies outside the image root /data/set"):
        ImageRoot(SourceConfig(), "/data/set").locate(name, "row 3")
    assert ImageRoot(SourceConfig(allow_outside=True), "/data/set").locate(name, "row 3")
    assert ImageRoot(SourceConfig(), "/data/set", limited=False).locate(name, "row 3")


@pytest.mark.parametrize("name", ["", None, 3, float("nan"), "a\0.png"])
def test_locate__no_path(name: object) -> None:
    with pytest.raises(UserError, match="row 3: no image path"):
        ImageRoot(SourceConfig(allow_outside=True), "/data/set").locate(name, "row 3")


def test_locate__image_root_is_the_start_and_the_limit() -> None:
    root = ImageRoot(SourceConfig(image_root="s3://bucket/images"), "/labels")
    assert root.locate("a.png", "") == "s3://bucket/images/a.png"
    assert root.locate("s3://bucket/images/b.png", "") == "s3://bucket/images/b.png"
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
    root = ImageRoot(SourceConfig(), str(inside))
    for name in ("folder/x.png", "file.png", "folder/../../out/x.png"):
        with pytest.raises(UserError, match="outside the image root"):
            root.locate(name, "")
    assert root.locate("same.png", "") == str(inside / "same.png")
    assert root.locate("folder/../x.png", "") == str(inside / "x.png")


def test_locate__the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    root = ImageRoot(SourceConfig(), str(tmp_path / "link"))
    assert root.locate("a.png", "") == str(tmp_path / "link" / "a.png")
    assert root.locate(str(tmp_path / "real" / "a.png"), "") == str(tmp_path / "real" / "a.png")
