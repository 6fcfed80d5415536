"""Verbs where every name has spaces, quotes, accents in both forms, and letters of other alphabets."""

import shutil
import unicodedata
from pathlib import Path

import pytest

import pocketeva
from tests import support

PLACE = 'Größe "A" it\'s 猫'
IMAGES = "Bilder & 写真 #1"
CONFIG = "mein 設定.yaml"
SPLITS = ("--data.splits.val", "0.2", "--data.splits.calibration", "0.3")
LABELS = ("schräg % neu", "ganz 全")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: label folders as a Mac writes them, files in both forms."""
    root = tmp_path / PLACE
    sources = [path for path, _ in support.elpv_rows()[:40]]
    for number, source in enumerate(sources):
        form = "NFC" if number % 4 < 2 else "NFD"
        name = unicodedata.normalize(form, f"é '{number}' +a&b.png")  # type: ignore[arg-type]
        target = root / IMAGES / unicodedata.normalize("NFD", LABELS[number % 2]) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    monkeypatch.chdir(root)
    return root


def test_verbs__odd_names_everywhere(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str, code: int = 0) -> str:
        assert pocketeva.main(list(arguments)) == code
        printed = capsys.readouterr()
        return printed.out + printed.err

    assert f"pocketeva run '{CONFIG}'" in said("init", IMAGES, "--config", CONFIG, "--from-scratch", *SPLITS)
    config = pocketeva.read_config(Path(CONFIG))
    assert (config.data.path, sorted(config.labels.names)) == (IMAGES, sorted(LABELS))
    assert "reading images: 40 of 40" in said("prepare", CONFIG)
    assert "prepare: done already" in said("prepare", CONFIG)
    assert f"outputs/{config.name}/views.png" in said("views", CONFIG, "--images", "2", "--views", "2")
    table = Path("Tabelle ü.csv")  # accents the other way round, and percent-encoded
    folder = unicodedata.normalize("NFC", f"{IMAGES}/{LABELS[0]}")
    table.write_text(
        f"image,label\n{folder}/é '0' +a&b.png,a\n{folder.replace('%', '%25')}/é '2' +a&b.png,b\n", "utf-8"
    )
    assert "2 images with 2 labels" in said("init", str(table), "--config", "zwei.yaml")
    broken = place / IMAGES / "ganz 全" / "kein Bild.jpg"
    broken.parent.mkdir(exist_ok=True)
    broken.write_text("kein Bild")
    assert f"'{broken}': not an image" in said("prepare", CONFIG, code=2)
    assert "'nicht da.yaml' does not exist" in said("prepare", "nicht da.yaml", code=2)
    assert "no file or folder 'nicht da'" in said("prepare", CONFIG, "--data.path", "nicht da", code=2)


def test_read_config__names_that_differ_in_other_alphabets_alone_are_two_runs(place: Path) -> None:
    pocketeva.main(["init", IMAGES, "--config", CONFIG])
    other = CONFIG.replace("設定", "試験")
    shutil.copyfile(CONFIG, other)
    assert pocketeva.read_config(Path(CONFIG)).name != pocketeva.read_config(Path(other)).name
