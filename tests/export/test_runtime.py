from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from data.loaders import load
from export.runtime import OnnxClassifier
from run.errors import UserError
from tests import support
from tests.export.conftest import Exported


def test_onnx_classifier__probabilities_are_those_of_torch(exported: Exported) -> None:
    classifier, path = exported
    images = [load(str(source)) for source, _ in support.elpv_rows()[:3]] + [
        support.picture(91, 40),
        support.picture(30, 77),
    ]
    with torch.inference_mode():
        renders = np.stack([classifier.spec.render(image) for image in images])
        pixels = torch.from_numpy(renders).permute(0, 3, 1, 2)
        expected = classifier.model(classifier.normalize(pixels)).softmax(1).numpy()
    given = OnnxClassifier(path).probabilities(images)
    assert given.shape == (5, 4)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, expected, atol=1e-5)
    np.testing.assert_allclose(given.sum(1), 1, atol=1e-6)


def test_onnx_classifier__labels_and_input_contract_come_from_the_file(exported: Exported) -> None:
    classifier, path = exported
    loaded = OnnxClassifier(path, threads=1)
    assert loaded.labels == classifier.labels
    assert loaded.spec == classifier.spec


def test_onnx_classifier__missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.onnx does not exist: run `pocketeva export` first"):
        OnnxClassifier(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("data", [b"", b"no model at all", b"\x08\x08\x12"])
def test_onnx_classifier__not_a_model(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"model\.onnx (cannot be run|does not carry)"):
        OnnxClassifier(path)


def test_onnx_classifier__cut_short(exported: Exported, tmp_path: Path) -> None:
    data = exported[1].read_bytes()
    path = tmp_path / "model.onnx"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"model\.onnx cannot be run"):
        OnnxClassifier(path)


@pytest.mark.parametrize("metadata", [{}, {"labels": '["a", "b"]'}])
def test_onnx_classifier__made_by_someone_else(exported: Exported, tmp_path: Path, metadata: dict[str, str]) -> None:
    model = onnx.load(exported[1])
    onnx.helper.set_model_props(model, metadata)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(UserError, match=r"model\.onnx does not carry labels and input contract"):
        OnnxClassifier(path)


@pytest.mark.parametrize(
    ("key", "value"), [("labels", '["a", "b"]'), ("labels", "not json"), ("input", "{}"), ("input", '{"mean": 3}')]
)
def test_onnx_classifier__foreign_metadata_of_the_same_name(
    exported: Exported, tmp_path: Path, key: str, value: str
) -> None:
    model = onnx.load(exported[1])
    known = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**known, key: value})
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(UserError, match=r"model\.onnx does not carry labels and input contract"):
        OnnxClassifier(path)


def test_onnx_classifier__one_image_or_many(exported: Exported) -> None:
    model = OnnxClassifier(exported[1])
    images: list[Image.Image] = [support.picture(50, 60, seed) for seed in range(5)]
    together = model.probabilities(images)
    apart = np.concatenate([model.probabilities([image]) for image in images])
    np.testing.assert_allclose(together, apart, atol=1e-6)
