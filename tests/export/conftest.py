"""An exported file that several modules read."""

from pathlib import Path

import onnx
import pytest

from export.golden.write import write_golden
from export.onnx_file import write_onnx
from export.rgb import write_rgb
from models.classifier import Classifier
from tests import support

Exported = tuple[Classifier, Path]
"""A model and its ONNX file."""


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A small convolutional model of four labels."""
    classifier = support.tiny("test_efficientnet", support.FOUR, 64)
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    with support.named_machine():
        write_onnx(classifier, path, opset=18, facts={"temperature": 1.0})
    return classifier, path


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release folder with its golden kit; tests copy it or leave it as it is."""

    def make(folder: Path) -> None:
        release = folder / "small-onnx"
        model, rgb = release / "onnx" / "model.onnx", release / "rgb.onnx"
        write_onnx(support.tiny("test_vit", support.FOUR, 112), model, opset=18, facts={"temperature": 1.0})
        write_rgb(model, rgb)
        write_golden(release / "golden", rgb, model)

    return support.made_once(tmp_path_factory, "released", make) / "small-onnx"


def without_weights(path: Path) -> bytes:
    """What an ONNX file says in words: short strings turn up in weights by chance."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    return bytes(model.SerializeToString())
