import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from export.fp16 import write_fp16
from export.onnx_file import write_onnx
from export.onnx_graph import metadata_of
from export.runtime import OnnxClassifier
from models.classifier import Classifier
from run.errors import UserError
from tests import support
from tests.export.random_models import settled

Pixels = NDArray[np.float32]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return settled("mobilenetv4_conv_small_050", 64, support.TWO)


@pytest.fixture(scope="module")
def pixels(classifier: Classifier) -> Pixels:
    rendered = [classifier.spec.render(support.picture(90, 60, seed)) for seed in range(8)]
    return classifier.spec.normalize(np.stack(rendered))


@pytest.fixture(scope="module")
def source(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fp32") / "model.onnx"
    write_onnx(classifier, path, opset=18, facts={"license": "apache-2.0"})
    return path


def scaled(source: Path, path: Path, factor: float, name: str) -> Path:
    """The file with one weight multiplied."""
    model = onnx.load(source)
    (tensor,) = [tensor for tensor in model.graph.initializer if re.fullmatch(name, tensor.name)]
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
    onnx.save(model, path)
    return path


def test_write_fp16__takes_and_gives_float32_in_half_the_bytes(source: Path, pixels: Pixels, tmp_path: Path) -> None:
    facts = write_fp16(source, tmp_path / "half.onnx", pixels)
    model = onnx.load(tmp_path / "half.onnx")
    onnx.checker.check_model(model, full_check=True)
    types = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    assert types == [onnx.TensorProto.FLOAT] * 2
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert (tmp_path / "half.onnx").stat().st_size == facts.bytes
    assert (tmp_path / "half.onnx").stat().st_size < 0.55 * source.stat().st_size


def test_write_fp16__facts_are_those_of_the_file(source: Path, pixels: Pixels, tmp_path: Path) -> None:
    facts = write_fp16(source, tmp_path / "half.onnx", pixels)
    half, full = (OnnxClassifier(path).logits(pixels) for path in (tmp_path / "half.onnx", source))
    assert facts.n == 8
    assert facts.flips == (half.argmax(1) != full.argmax(1)).sum()
    assert facts.largest == pytest.approx(np.abs(softmax(half, axis=-1) - softmax(full, axis=-1)).max(), rel=1e-3)
    assert isinstance(facts.largest, float)
    assert 0 < facts.largest < 0.1


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_write_fp16__keeps_the_dynamic_batch(source: Path, pixels: Pixels, tmp_path: Path, batch: int) -> None:
    write_fp16(source, tmp_path / "half.onnx", pixels)
    images = np.resize(pixels, (batch, *pixels.shape[1:]))
    assert OnnxClassifier(tmp_path / "half.onnx").logits(images).shape == (batch, 2)


def test_write_fp16__carries_the_metadata_over(source: Path, pixels: Pixels, tmp_path: Path) -> None:
    write_fp16(source, tmp_path / "half.onnx", pixels)
    metadata = metadata_of(onnx.load(tmp_path / "half.onnx"))
    assert metadata_of(onnx.load(source)).items() <= metadata.items()
    assert metadata["quantization"] == '{"method": "fp16"}'


def test_write_fp16__gives_the_same_bytes_twice_and_names_no_place(
    source: Path, pixels: Pixels, tmp_path: Path
) -> None:
    with support.named_machine():
        first, second = (write_fp16(source, tmp_path / name / "half.onnx", pixels).sha256 for name in ("a", "b"))
    assert first == second
    data = (tmp_path / "a" / "half.onnx").read_bytes()
    for word in (str(tmp_path), str(Path.home()) + "/", str(Path.cwd()), support.HOST, support.USER):
        assert word.encode() not in data


@pytest.mark.parametrize(
    ("name", "factor"),
    [("classifier.weight", 1e6), ("conv_stem.weight", 1e5), ("conv_stem.weight", np.inf)],
    ids=["weight", "activation", "infinite"],
)
def test_write_fp16__what_does_not_fit_is_refused_and_nothing_left_behind(
    source: Path, pixels: Pixels, tmp_path: Path, name: str, factor: float
) -> None:
    large = scaled(source, tmp_path / "large.onnx", factor, name)
    with pytest.raises(UserError, match="not written"):
        write_fp16(large, tmp_path / "out" / "half.onnx", pixels)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_write_fp16__an_overflow_between_layers_is_seen_where_all_weights_fit(
    source: Path, pixels: Pixels, tmp_path: Path
) -> None:
    large = scaled(source, tmp_path / "large.onnx", 3e4, "conv_stem.weight")
    with pytest.raises(UserError, match="a number inside reaches"):
        write_fp16(large, tmp_path / "half.onnx", pixels)
    assert not (tmp_path / "half.onnx").exists()
