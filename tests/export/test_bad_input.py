"""What a user gets wrong ends with exit code 2 and one message, and leaves nothing behind."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import pocketeva
from data.manifest import Manifest
from export import export as stage
from export.onnx_file import write_onnx
from models import checkpoint
from models.classifier import Classifier
from run.errors import UserError
from run.folder import RunFolder
from tests import finished, support


@pytest.fixture
def run(finished_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    root = finished.copied(finished_root, tmp_path / "work")
    monkeypatch.chdir(root)
    return RunFolder(root / "outputs" / "quick")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one message of a command that ends with exit code 2."""
    capsys.readouterr()
    assert pocketeva.main(arguments) == pocketeva.WRONG_INPUT
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    (start,) = re.finditer(r"^pocketeva \w+: ", printed.err, re.MULTILINE)
    return printed.err[start.end() :].strip()


def with_another_student(monkeypatch: pytest.MonkeyPatch, change: Callable[[Classifier], Classifier]) -> None:
    """Have every checkpoint but the teacher's come out of its folder changed."""
    load = checkpoint.load

    def changed(folder: Path, *given: Any) -> Classifier:
        classifier = load(folder, *given)
        return classifier if folder.parent.name == "teacher" else change(classifier)

    monkeypatch.setattr(checkpoint, "load", changed)


def make_again(run: RunFolder) -> dict[str, bytes]:
    """Forget the student's export; what is left in the release."""
    (run.release / "mini-onnx" / "rgb.onnx").unlink()
    return support.files_below(run.release)


def test_train__a_size_the_model_cannot_take(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "train", "config.yaml", "--teacher.image_size=33")
    assert said.startswith("teacher.image_size: the model cannot take images of 33 x 33 pixels: ")
    assert "\n" not in said


def test_export__a_model_that_onnx_cannot_express(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def sorting(classifier: Classifier) -> Classifier:
        classifier.model.conv_head = nn.Sequential(classifier.model.conv_head, support.Sorting())  # type: ignore[arg-type]
        return classifier

    before = make_again(run)
    with_another_student(monkeypatch, sorting)
    said = refused(capsys, "export", "config.yaml")
    assert said.startswith("test_efficientnet cannot be expressed in ONNX opset 18: ")
    assert "\n" not in said
    assert support.files_below(run.release) == before


def test_export__an_empty_calibration_split(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = Manifest.read(run.manifest, support.FOUR)
    Manifest(support.FOUR, manifest.usable("train", "val", "test").table).write(run.manifest)
    said = refused(capsys, "export", "config.yaml")
    assert said.startswith("the calibration split has no images")
    assert "\n" not in said


def test_export__a_file_unlike_pytorch_is_not_left_behind(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = make_again(run)
    original = write_onnx

    def other_weights(classifier: Classifier, *args: Any, **kwargs: Any) -> None:
        original(replace(classifier, model=support.tiny("test_efficientnet", support.FOUR, 64).model), *args, **kwargs)

    monkeypatch.setattr(stage, "write_onnx", other_weights)
    said = refused(capsys, "export", "config.yaml")
    assert re.match(r"model\.onnx differs from PyTorch by [\d.e-]+ in a probability", said)
    assert support.files_below(run.release) == before
    assert not [path for path in run.root.rglob("*") if ".partial" in path.name]


def test_export__an_rgb_file_that_fails_its_check_is_not_left_behind(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise UserError("rgb.onnx differs from Python's preprocessing by 1")

    before = make_again(run)
    monkeypatch.setattr(stage, "check_rgb", fails)
    assert pocketeva.main(["export", "config.yaml"]) == pocketeva.WRONG_INPUT
    assert support.files_below(run.release) == before
