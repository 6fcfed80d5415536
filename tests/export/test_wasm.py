"""``rgb.onnx`` in the WASM build of ONNX Runtime."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.npm import CannotRunError
from benchmarks.wasm import Job, install, largest_difference, run
from export.rgb import write_rgb
from export.runtime import RgbClassifier
from models.spec import InputSpec, ResizeMode
from tests import support
from tests.export.random_models import exported

SIZES = [(640, 480), (90, 1200), (7, 5), (1, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["squash", "center"])
def test_write_rgb__wasm_gives_what_python_gives(node_folder: Path, tmp_path: Path, mode: ResizeMode) -> None:
    spec = InputSpec(112, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), mode, 1.0 if mode == "squash" else 0.875)
    write_rgb(exported(tmp_path, support.FOUR, spec), tmp_path / "rgb.onnx")
    paths = [path for path, _ in support.elpv_rows()[: len(SIZES)]]
    pictures = [Image.open(path).convert("RGB").resize(size) for path, size in zip(paths, SIZES, strict=True)]
    found = run(node_folder, [Job(tmp_path / "rgb.onnx", np.asarray(picture), "image") for picture in pictures])
    assert set(found[0]["outputs"]) == {"probabilities", "scores", "decision"}
    assert largest_difference(RgbClassifier(tmp_path / "rgb.onnx"), pictures, found) <= 1e-4
    assert np.ptp([result["outputs"]["probabilities"] for result in found], axis=0).max() > 1e-3, "all the same"


def test_install__without_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRunError, match="node and npm are not installed"):
        install(tmp_path)
