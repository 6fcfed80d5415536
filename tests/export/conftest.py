"""An exported file that several modules read."""

from pathlib import Path

import onnx
import pytest

from export.onnx_file import write_onnx
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


def without_weights(path: Path) -> bytes:
    """What an ONNX file says in words: short strings turn up in weights by chance."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    return bytes(model.SerializeToString())
