import ntpath
from pathlib import Path

import pytest

from data.readers.paths import normal, parent


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


def test_normal__paths_of_windows() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.path", ntpath)
        patch.setattr("os.sep", "\\")
        found = [normal(path) for path in (r"C:\set\.\a b.jpg", "C:/set/../a.jpg", r"\\server\share\a.jpg")]
        folders = [parent(uri) for uri in found]
    assert found == ["C:/set/a b.jpg", "C:/a.jpg", "//server/share/a.jpg"]
    assert folders == ["C:/set", "C:/", "//server/share/"]


@pytest.mark.parametrize(
    ("uri", "expected"), [("/a/b.csv", "/a"), ("s3://a/b/c.csv", "s3://a/b"), ("s3://a/c", "s3://a")]
)
def test_parent__of_paths_and_uris(uri: str, expected: str) -> None:
    assert parent(uri) == expected
