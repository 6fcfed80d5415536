import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pocketeva
from data.doubts import SUSPECTS, Suspect, write_suspects_file
from data.manifest import Manifest
from run.folder import RunFolder
from tests import finished
from tests.support import FOUR
from verify.gallery import SIDE, Card, Section, page
from verify.predictions import PREDICTIONS, Predictions

TEACHER, STUDENT = "teacher-onnx/onnx/model.onnx", "mini-onnx/onnx/model.onnx"


@pytest.fixture(scope="module")
def shown(finished_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, str]:
    """A finished run with a suspect, and the page about it."""
    root = finished.copied(finished_root, tmp_path_factory.mktemp("gallery") / "work")
    run = RunFolder(root / "outputs" / "quick")
    uri = Manifest.read(run.manifest, FOUR).column("uri")[0]
    write_suspects_file(run.data / SUSPECTS, [Suspect(uri, "train", "sound", "broken", 0.01, 0.98)])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert pocketeva.main(["errors", "config.yaml"]) == 0
    return run, (run.verify / "errors.html").read_text(encoding="utf-8")


def count(html: str, title: str) -> int:
    found = re.search(rf"<h2>{title}: (\d+) image", html)
    assert found is not None, title
    return int(found[1])


def test_gallery__counts_errors_and_disagreements(shown: tuple[RunFolder, str]) -> None:
    run, html = shown
    test = Predictions.read(run.verify / PREDICTIONS).split("test").one_per_group()
    for name, file in (("teacher", TEACHER), ("mini", STUDENT)):
        assert count(html, f"{name}: errors") == (test.decisions(file) != test.truth()).sum()
    differ = test.decisions(TEACHER) != test.decisions(STUDENT)
    assert count(html, "mini: disagreements with the teacher") == differ.sum()
    assert count(html, "suspect labels") == 1
    assert "<b>broken (98%)</b>" in html
    assert "conflicting duplicates" not in html


def test_gallery__the_surest_error_comes_first(shown: tuple[RunFolder, str]) -> None:
    run, html = shown
    test = Predictions.read(run.verify / PREDICTIONS).split("test").one_per_group()
    p, said, truth = test.probabilities(TEACHER), test.decisions(TEACHER), test.truth()
    rows = np.arange(len(test))
    worst = int(np.where(said != truth, p[rows, said] - p[rows, truth], -1).argmax())
    first = html.split("teacher: errors")[1].split("</figure>")[0]
    assert f"label: <b>{FOUR.names[truth[worst]]}</b><br>teacher: <b>{FOUR.names[said[worst]]}</b>" in first


def test_gallery__needs_no_other_file(shown: tuple[RunFolder, str]) -> None:
    _, html = shown
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|<script", html)
    assert "prefers-color-scheme: dark" in html
    data = re.search(r"data:image/jpeg;base64,([^\"]+)", html)
    assert data is not None
    with Image.open(io.BytesIO(base64.b64decode(data[1]))) as image:
        assert max(image.size) <= SIDE


def test_page__escapes_what_comes_from_files(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>\"'&"
    html = page(bad, [Section(bad, bad, [Card(f"{tmp_path}/{bad}.png", [(bad, bad)])], 3)])
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") == 7
    assert "this image cannot be read any more" in html
    assert "3 images; the first 1 of them" in html
