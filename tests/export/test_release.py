from pathlib import Path

import pytest

from export.release import BASELINE, FP32, INT8, KINDS, RGB, Release, baseline_file, open_onnx
from export.runtime import OnnxClassifier, RgbClassifier
from run.folder import RunFolder


@pytest.fixture
def release(tmp_path: Path) -> Release:
    for folder in ("mini", "mini-onnx/onnx", "teacher", "teacher-onnx", ".partial-late-onnx", "alpha-onnx"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("mini-onnx/rgb.onnx", "mini-onnx/onnx/model.onnx", "README.md"):
        (tmp_path / file).write_bytes(b"1")
    return Release(tmp_path)


def test_models__teacher_first_then_by_name(release: Release) -> None:
    assert [(model.name, model.role) for model in release.models()] == [
        ("teacher", "teacher"),
        ("alpha", "student"),
        ("mini", "student"),
    ]
    assert Release(release.root / "nowhere").models() == []


def test_model__folders_and_files(release: Release) -> None:
    mini = release.model("mini")
    assert (mini.checkpoint, mini.onnx) == (release.root / "mini", release.root / "mini-onnx")
    assert [file.kind for file in mini.files()] == [FP32, RGB]
    assert mini.files()[0] == mini.reference
    assert mini.file(INT8).name == "mini-onnx/onnx/model_quantized.onnx"
    assert not mini.file(INT8).path.exists()
    assert release.model("teacher").files() == []


def test_keep_only__others_are_removed(release: Release) -> None:
    release.keep_only(["mini"])
    assert {path.name for path in release.root.iterdir()} == {"mini", "mini-onnx"}
    Release(release.root / "nowhere").keep_only(["mini"])


@pytest.mark.parametrize("kind", KINDS.values(), ids=str)
def test_open__each_kind(finished_root: Path, kind: object) -> None:
    model = Release(finished_root / "outputs" / "quick" / "release").model("mini")
    (file,) = (file for file in model.files() if file.kind == kind)
    opened = file.open(threads=1)
    assert type(opened) is (RgbClassifier if kind == RGB else OnnxClassifier)
    assert type(open_onnx(file.path)) is type(opened)


def test_baseline_file__beside_its_checkpoint(tmp_path: Path) -> None:
    file = baseline_file(RunFolder(tmp_path), "mini-alone")
    assert file.kind is BASELINE
    assert file.path == tmp_path / "students" / "mini-alone" / "model.onnx"
