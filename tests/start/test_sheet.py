from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pocketeva
from data.config import SourceConfig, ViewsConfig
from data.readers.source import Source
from data.views import ViewSpec
from models.spec import InputSpec
from run.errors import UserError
from start.sheet import GAP, LINE, TILE, Picture, draw_sheet, pick
from tests import finished, support

SPECS = {
    "teacher": InputSpec(448, (0.5,) * 3, (0.5,) * 3, "center", 0.9),
    "mini": InputSpec(64, (0.5,) * 3, (0.5,) * 3),
}


def source(root: Path, tmp_path: Path) -> Source:
    return Source(SourceConfig(format="folder", path=str(root)), support.TWO, tmp_path)


def test_pick__labels_in_turn(images: Path, tmp_path: Path) -> None:
    pictures = pick(source(images, tmp_path), 4)
    assert sorted(picture.caption.split(": ")[0] for picture in pictures) == ["broken", "broken", "sound", "sound"]
    assert len({picture.image_id for picture in pictures}) == 4
    next((images / "sound").iterdir()).write_bytes(b"no photograph")
    assert len(pick(source(images, tmp_path), 100)) == 15, "one does not decode"


def test_pick__nothing_that_can_be_read(tmp_path: Path) -> None:
    support.label_folders(tmp_path / "images", {"sound": 1, "broken": 1})
    for path in (tmp_path / "images").rglob("*.png"):
        path.write_bytes(b"no photograph")
    with pytest.raises(UserError, match="none of the first images can be read"):
        pick(source(tmp_path / "images", tmp_path), 4)


def test_draw_sheet__shows_what_models_are_given() -> None:
    picture = Picture("id", "sound: a.png", support.picture(300, 200))
    views = ViewsConfig()
    sheet = draw_sheet([picture], views, SPECS, 3)
    assert sheet.size == (GAP + 3 * (TILE + GAP), GAP + (LINE + GAP) + 2 * (LINE + TILE + GAP))
    top = GAP + LINE + GAP + LINE + (LINE + TILE + GAP)  # of the student's row, which is not shrunk
    for index in range(3):
        left = GAP + index * (TILE + GAP)
        shown = np.asarray(sheet.crop((left, top, left + 64, top + 64)))
        view = ViewSpec.of(views).draw("id", index, 300, 200)
        assert np.array_equal(shown, SPECS["mini"].render(picture.image, view))


def test_views__writes_a_sheet_before_anything_else(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = finished.settings()
    config |= {"labels": {"names": ["sound", "broken"]}, "data": {"format": "folder", "path": str(images)}}
    finished.write_config(tmp_path, config)
    monkeypatch.chdir(tmp_path)
    arguments = ["views", "config.yaml", "--images", "2", "--teacher.pretrained", "true"]
    assert pocketeva.main(arguments) == 0, "no weights are asked for"
    assert "outputs/quick/views.png: images as the teacher" in capsys.readouterr().out
    with Image.open(tmp_path / "outputs/quick/views.png") as sheet:
        assert sheet.width == GAP + 2 * (TILE + GAP)
