from dataclasses import replace
from pathlib import Path

import pytest

from data.config import DataConfig
from data.labels import LabelSet
from data.readers.formats.folder import read
from data.readers.source import Source
from run.errors import UserError
from tests.support import TWO, picture


def put(root: Path, *names: str) -> DataConfig:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture().save(root / name)
    return DataConfig(format="folder", path=str(root))


def found(config: DataConfig, labels: LabelSet | None = TWO) -> dict[str, tuple[tuple[float, ...] | None, str | None]]:
    root = Path(config.path)
    return {str(Path(r.uri).relative_to(root)): (r.target, r.split) for r in read(Source(config, labels, root))}


def test_read__one_folder_per_label(tmp_path: Path) -> None:
    config = put(tmp_path, "broken/1.png", "sound/deep/2.JPG", "sound/3.webp")
    (tmp_path / "sound" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "sound" / "._3.webp").write_text("what macOS leaves behind")
    assert found(config) == {
        "broken/1.png": ((0.0, 1.0), None),
        "sound/deep/2.JPG": ((1.0, 0.0), None),
        "sound/3.webp": ((1.0, 0.0), None),
    }


def test_read__split_folders(tmp_path: Path) -> None:
    config = put(
        tmp_path, "train/sound/1.png", "validation/broken/2.png", "test/sound/3.png", "calibration/sound/4.png"
    )
    assert {name: split for name, (_, split) in found(config).items()} == {
        "train/sound/1.png": "train",
        "validation/broken/2.png": "val",
        "test/sound/3.png": "test",
        "calibration/sound/4.png": "calibration",
    }


def test_read__a_label_may_be_named_like_a_split(tmp_path: Path) -> None:
    config = put(tmp_path, "test/1.png", "drive/2.png")
    records = found(config, LabelSet(("drive", "test"), "nominal"))
    assert records["test/1.png"] == ((0.0, 1.0), None)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("sound/1.png", "brocken/2.png"), "did you mean 'broken'"),
        (("train/sound/1.png", "broken/2.png"), "has split folders beside broken"),
        (("train/sound/1.png", "test/other/2.png"), "label 'other' is not in labels.names"),
        (("1.png",), "1.png lies in no label folder"),
        (("1.png", "2.png", "sound/1.png"), "1.png and 1 other image lie in no label folder"),
        (("train/sound/1.png", "train/2.png"), "lies in no label folder"),
        (("train/sound/1.png", "2.png"), "lies in no label folder"),
        (("Sound/1.png", "broken /2.png"), r"(?s)2 problems:.*'Sound'.*mean 'sound'.*'broken '.*mean 'broken'"),
    ],
)
def test_read__wrong_layouts(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        found(put(tmp_path, *names))


def test_read__no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        found(DataConfig(format="folder", path=str(tmp_path / "none")))


def test_read__no_images(tmp_path: Path) -> None:
    (tmp_path / "sound").mkdir()
    with pytest.raises(UserError, match="no image files below this folder"):
        found(DataConfig(format="folder", path=str(tmp_path)))


def test_read__an_unlabeled_split_has_no_label_folders(tmp_path: Path) -> None:
    config = put(tmp_path, "train/sound/1.png", "unlabeled/2.png", "unlabeled/any/where/3.png")
    assert found(config) == {
        "train/sound/1.png": ((1.0, 0.0), "train"),
        "unlabeled/2.png": (None, "unlabeled"),
        "unlabeled/any/where/3.png": (None, "unlabeled"),
    }


def test_read__a_pool_takes_images_at_any_depth(tmp_path: Path) -> None:
    config = put(tmp_path, "1.png", "train/2.png", "odd/deep/3.png")
    assert found(config, None) == dict.fromkeys(("1.png", "train/2.png", "odd/deep/3.png"), (None, None))


def test_read__links_are_followed_inside_the_root_and_not_in_circles(tmp_path: Path) -> None:
    config = put(tmp_path / "images", "sound/1.png", "broken/2.png")
    (tmp_path / "images" / "sound" / "again").symlink_to(tmp_path / "images" / "broken")
    (tmp_path / "images" / "sound" / "circle").symlink_to(tmp_path / "images" / "sound")
    assert set(found(config)) == {"sound/1.png", "broken/2.png", "sound/again/2.png"}


def test_read__links_to_the_outside_need_leave(tmp_path: Path) -> None:
    put(tmp_path / "other", "1.png")
    config = put(tmp_path / "images", "broken/2.png")
    (tmp_path / "images" / "sound").symlink_to(tmp_path / "other")
    with pytest.raises(UserError, match=r"sound/1\.png' lies outside the image root"):
        found(config)
    assert set(found(replace(config, allow_outside=True))) == {"broken/2.png", "sound/1.png"}
    assert set(found(replace(config, image_root=str(tmp_path)))) == {"broken/2.png", "sound/1.png"}
