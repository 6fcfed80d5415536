from pathlib import Path

import pytest

from data.config import DataConfig
from data.labels import LabelSet
from data.readers.folder import read
from run.errors import UserError
from tests.support import TWO, picture


def put(root: Path, *names: str) -> DataConfig:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture().save(root / name)
    return DataConfig(format="folder", path=str(root))


def found(config: DataConfig, labels: LabelSet = TWO) -> dict[str, tuple[tuple[float, ...], str | None]]:
    root = Path(config.path)
    return {str(r.path.relative_to(root)): (r.target, r.split) for r in read(config, labels, root)}


def test_read__one_folder_per_label(tmp_path: Path) -> None:
    config = put(tmp_path, "broken/1.png", "sound/deep/2.JPG", "sound/3.webp")
    (tmp_path / "sound" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
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
        (("1.png",), "lie in no label folder"),
        (("train/sound/1.png", "train/2.png"), "lie in no label folder"),
    ],
)
def test_read__wrong_layouts(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        found(put(tmp_path, *names))


def test_read__no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        found(DataConfig(format="folder", path=str(tmp_path / "none")))
