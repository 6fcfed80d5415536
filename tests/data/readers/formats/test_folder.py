import os
from dataclasses import replace
from pathlib import Path

import pytest

from data.config import DataConfig
from data.labels import LabelSet
from data.listing import collect
from data.readers.formats.folder import read
from data.readers.source import Source
from data.scan import scan
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


@pytest.mark.parametrize("splits", [("Training", "Validation", "Testing"), ("TRAIN", "Valid", "test_set")])
def test_read__split_folders_whatever_their_case(tmp_path: Path, splits: tuple[str, ...]) -> None:
    config = put(tmp_path, *(f"{split}/sound/1.png" for split in splits))
    assert {split for _, split in found(config).values()} == {"train", "val", "test"}


def test_read__pictures_go_by_content_and_the_rest_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = put(tmp_path, "sound/1.png", "broken/2.png", "@eaDir/1.png", "__MACOSX/sound/1.png")
    data = (tmp_path / "sound/1.png").read_bytes()
    for name in ("a.jfif", "b", "c.JPE", "d.photo"):
        (tmp_path / "sound" / name).write_bytes(data)
    monkeypatch.setattr("data.walk.reads_heic", lambda: False)
    for name, brand in (("q.avif", b"avif"), ("IMG.HEIC", b"heic")):
        (tmp_path / "sound" / name).write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(9))
    (tmp_path / "sound" / "notes.txt").write_text("BM, no picture")
    for name in ("Thumbs.db", "._1.png"):
        (tmp_path / "sound" / name).write_bytes(b"x")
    assert {Path(name).name for name in found(config)} == {"1.png", "2.png", "a.jfif", "b", "c.JPE", "d.photo"}
    said = capsys.readouterr().err
    assert "2 files in label folders are in formats that are not read, and left out: 1 .HEIC and 1 .avif" in said
    assert "4 files that other programs made left alone: 1 ._*, 1 Thumbs.db, 1 in @eaDir and 1 in __MACOSX" in said
    assert "1 file in label folders is no picture, and left out: 1 .txt, the first" in said


def test_read__a_folder_that_is_no_label_can_be_left_out(tmp_path: Path) -> None:
    config = put(tmp_path, "sound/1.png", "broken/2.png", "extra/3.png")
    with pytest.raises(UserError, match=r"'extra'.*leave it out with data\.leave_out: \[extra\]\. Split folders"):
        found(config)
    assert set(found(replace(config, leave_out=["extra"]))) == {"sound/1.png", "broken/2.png"}


def test_read__a_pipe_is_refused_by_name(tmp_path: Path) -> None:
    config = put(tmp_path, "sound/1.png", "broken/2.png")
    os.mkfifo(tmp_path / "sound" / "pipe.png")
    (tmp_path / "sound" / "endless.png").symlink_to("/dev/zero")
    source = Source(replace(config, allow_outside=True), TWO, tmp_path)
    with pytest.raises(UserError, match=r"(?s)this is a device, not a regular.*pipe, not a regular file.*pipe\.png"):
        collect(read(source))


def test_read__a_name_that_is_a_label_and_a_split_is_a_question_where_labels_are_inside(tmp_path: Path) -> None:
    labels = LabelSet(("train", "bus"), "nominal")
    config = put(tmp_path, "train/train/1.png", "train/bus/2.png", "test/train/3.png", "test/bus/4.png")
    with pytest.raises(UserError, match=r"'train' is a label and names a split, .*rename it train_split"):
        found(config, labels)
    (tmp_path / "test").rename(tmp_path / "bus")
    with pytest.raises(UserError, match=r"'train' is a label and names a split, .*rename it train_split"):
        found(config, labels)
    (tmp_path / "train").rename(tmp_path / "train_split")
    (tmp_path / "bus").rename(tmp_path / "test")
    assert {split for _, split in found(config, labels).values()} == {"train", "test"}


def test_read__folders_are_left_out_at_any_depth(tmp_path: Path) -> None:
    config = put(tmp_path, "sound/1.png", "sound/deep/masks/1.png", "broken/2.png", "masks/3.png")
    assert set(found(replace(config, leave_out=["masks"]))) == {"sound/1.png", "broken/2.png"}
    assert set(found(replace(config, leave_out=["masks"]), None)) == {"sound/1.png", "broken/2.png"}


def test_read__names_that_are_not_utf8(tmp_path: Path) -> None:
    config = put(tmp_path, "sound/1.png", "broken/2.png", "sound/caf\udce9.png")
    table = collect(read(Source(config, TWO, tmp_path)))
    assert sorted(table.column("uri").to_pylist())[-1] == f"file://{tmp_path}/sound/caf%E9.png"
    assert f"{tmp_path}/sound/caf\\xe9.png" in table.column("where").to_pylist()
    assert set(scan(table, tmp_path / "scan").column("status").to_pylist()) == {"ok"}
