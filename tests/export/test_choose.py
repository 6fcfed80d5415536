from pathlib import Path

import pytest

from export.choose import find_model
from run.errors import UserError

FP32 = "onnx/model.onnx"


def run_with(root: Path, *files: str) -> Path:
    """A run folder whose release has these files."""
    for file in files:
        path = root / "release" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.mark.parametrize(
    "level",
    [".", "release", "release/mini", "release/mini-onnx", "release/mini-onnx/onnx", f"release/mini-onnx/{FP32}"],
)
def test_find_model__at_any_level_where_there_is_one(tmp_path: Path, level: str) -> None:
    run = run_with(tmp_path, f"mini-onnx/{FP32}", "mini-onnx/rgb.onnx", "mini/model.safetensors")
    assert find_model(run / level) == run / "release" / "mini-onnx" / FP32


@pytest.mark.parametrize(
    "file", ["rgb.onnx", "onnx/model_fp16.onnx", "openvino/model.xml", "executorch/model.pte", "coreml/model.mlpackage"]
)
def test_find_model__a_file_or_the_only_one(tmp_path: Path, file: str) -> None:
    folder = run_with(tmp_path, f"mini-onnx/{file}") / "release" / "mini-onnx"
    assert find_model(folder / file) == find_model(folder) == find_model((folder / file).parent) == folder / file


@pytest.mark.parametrize("level", [".", "release"])
def test_find_model__says_which_there_are(tmp_path: Path, level: str) -> None:
    run = run_with(tmp_path / "a run", f"teacher-onnx/{FP32}", f"mini-onnx/{FP32}", "empty-onnx/labels.json")
    with pytest.raises(UserError, match=r"holds 2 models; give one of\n  '.*/mini-onnx'\n  '.*/teacher-onnx'$"):
        find_model(run / level)


def test_find_model__none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no model file"):
        find_model(run_with(tmp_path, "mini/model.safetensors"))
    with pytest.raises(UserError, match=r"nowhere does not exist: give a release folder"):
        find_model(tmp_path / "nowhere")
