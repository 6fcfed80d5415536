"""docs/python.md, run as a notebook user would."""

import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pocketeva
from data.decode import DecodeError
from export.predictor import Prediction
from run.errors import UserError
from tests import finished, support
from verify.certificate import Certificate

REPOSITORY = Path(__file__).resolve().parents[1]
SNIPPETS = re.findall(
    r"```python\n(.*?)```", (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8"), re.DOTALL
)
HERE = {"outputs/demo/release/mobilenetv4-small-050-onnx": "outputs/quick/release/mini-onnx", '"0.9"': '"0.02"'}
"""The page's release and its target, and those of the run that the tests have."""


@pytest.fixture(scope="module")
def notebook(finished_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that are there after the page's snippets, each run in order over a finished run."""
    root = finished.copied(finished_root, tmp_path_factory.mktemp("notebook") / "work")
    shutil.move(root / "config.yaml", root / "my.yaml")
    picture = next((root / "images").iterdir())
    with Image.open(picture) as image:
        image.convert("RGB").save(root / "photograph.png")
    (root / "photograph.png").rename(root / "photograph.jpg")  # told by content
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for snippet in SNIPPETS:
            for ours, tests in HERE.items():
                snippet = snippet.replace(ours, tests)
            exec(compile(snippet, "docs/python.md", "exec"), names)
    return {**names, "root": root}


def test_load__predicts_paths_bytes_and_pixels_alike(notebook: dict[str, Any]) -> None:
    prediction: Prediction = notebook["prediction"]
    assert list(prediction.scores) == list(support.FOUR.names)
    assert sum(prediction.scores.values()) == pytest.approx(1, abs=1e-5)
    assert prediction.labels == (prediction.label,) == tuple(prediction.top(1))
    assert list(prediction.top().values()) == sorted(prediction.scores.values(), reverse=True)
    assert notebook["same"].scores == notebook["also"].scores == prediction.scores


def test_load__a_pillow_image_is_turned_upright_as_its_file_is(notebook: dict[str, Any]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = support.encoded(support.picture(), "PNG", exif=exif)
    model = notebook["model"]
    with Image.open(io.BytesIO(data)) as opened:
        assert model.predict(opened).scores == model.predict(data).scores
    assert model.predict(support.picture()).scores != model.predict(data).scores


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (b"no image", DecodeError),
        ("nowhere.png", OSError),
        (np.zeros((4, 4)), UserError),
        (np.zeros((4, 4, 4), np.uint8), UserError),
    ],
    ids=["bytes", "path", "floats", "four channels"],
)
def test_load__what_cannot_be_read(notebook: dict[str, Any], image: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        notebook["model"].predict(image)


def test_run__stages_give_what_they_made(notebook: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(notebook["root"])
    certificate: Certificate = notebook["certificate"]
    assert certificate.verdict == "PASS"
    assert list(notebook["students"]) == ["mini"]
    assert notebook["teacher"].labels == notebook["model"].labels == support.FOUR
    assert [model.name for model in notebook["release"].models()] == ["teacher", "mini"]


def test_run__a_stage_out_of_order(notebook: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = pocketeva.Run(notebook["config"])
    for stage, verb in ((run.train, "prepare"), (run.distill, "prepare"), (run.verify, "export")):
        with pytest.raises(UserError, match=f"run `pocketeva {verb}` first"):
            stage()
    assert list(tmp_path.iterdir()) == []
