import copy
import json
import re
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data.labels import LabelSet
from data.loaders import load
from export.metadata import describe, input_json
from export.onnx_file import write_onnx
from export.onnx_graph import least_ir_version, places_in, warn_of_places
from models.classifier import Classifier
from run.errors import UserError
from tests import support
from tests.export.conftest import Exported, without_weights

LABELS = LabelSet(("sound", "leicht beschädigt", 'bro"ken'), "ordinal")
SIZES = {"eva02_tiny_patch14_224": 56, "mobilenetv4_conv_small_050": 64}


@pytest.fixture(
    scope="module",
    params=[pytest.param("eva02_tiny_patch14_224", marks=pytest.mark.slow), "mobilenetv4_conv_small_050"],
)
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    classifier = support.tiny(request.param, LABELS, SIZES[request.param])
    if hasattr(classifier.model, "blocks") and isinstance(classifier.model.blocks, nn.ModuleList):
        del classifier.model.blocks[2:]  # a transformer's are all alike
    path = tmp_path_factory.mktemp("onnx") / "deep" / "model.onnx"
    with support.named_machine():
        write_onnx(classifier, path, opset=18, facts={"temperature": 1.25})
    return classifier, path


def photographs(classifier: Classifier, count: int) -> NDArray[np.float32]:
    paths = [path for path, _ in support.elpv_rows()[:count]]
    renders = [classifier.spec.render(load(str(path))) for path in paths]
    return classifier.spec.normalize(np.stack(renders))


def metadata_of(path: Path) -> dict[str, Any]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_write_onnx__any_batch_gives_what_torch_gives(either: Exported, batch: int) -> None:
    classifier, path = either
    pixels = photographs(classifier, batch)
    with torch.inference_mode():
        expected = classifier.model(torch.from_numpy(pixels)).numpy()
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {"pixel_values": pixels})
    assert given.shape == (batch, 3)
    np.testing.assert_allclose(given, expected, atol=1e-4, rtol=1e-4)
    assert np.ptp(expected, axis=0).max() > 1e-3 or batch == 1  # the images make a difference


def test_write_onnx__inputs_and_outputs(either: Exported) -> None:
    classifier, path = either
    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert {opset.domain: opset.version for opset in model.opset_import} == {"": 18}
    assert model.ir_version == 8
    (taken,), (given,) = model.graph.input, model.graph.output
    assert (taken.name, given.name) == ("pixel_values", "logits")
    assert taken.type.tensor_type.elem_type == given.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    size = classifier.spec.size
    shape = [dim.dim_param or dim.dim_value for dim in taken.type.tensor_type.shape.dim]
    assert shape == ["batch", 3, size, size]
    assert [dim.dim_param or dim.dim_value for dim in given.type.tensor_type.shape.dim] == ["batch", 3]


def test_write_onnx__one_file_holds_all_weights(either: Exported) -> None:
    classifier, path = either
    assert [child.name for child in path.parent.iterdir()] == ["model.onnx"]
    model = onnx.load(path, load_external_data=False)
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
    weights = sum(4 * parameter.numel() for parameter in classifier.model.parameters())
    assert path.stat().st_size > 0.9 * weights


def test_write_onnx__metadata_says_what_a_runtime_needs(either: Exported) -> None:
    classifier, path = either
    found = metadata_of(path)
    assert found["labels"] == {"names": list(LABELS.names), "kind": "ordinal"}
    assert found["labels_digest"] == LABELS.digest
    assert found["weights_digest"] == classifier.weights_digest()
    assert found["architecture"] == classifier.architecture
    assert found["temperature"] == 1.25
    contract = found["input"]
    assert contract["input_size"] == [3, classifier.spec.size, classifier.spec.size]
    assert (contract["mean"], contract["std"]) == (list(classifier.spec.mean), list(classifier.spec.std))
    assert (contract["crop_mode"], contract["crop_pct"]) == (classifier.spec.mode, classifier.spec.crop_pct)
    assert (contract["color"], contract["interpolation"]) == ("RGB", "bicubic")
    assert contract["scale"] == 1 / 255
    assert found == json.loads(json.dumps({**describe(classifier), "temperature": 1.25}))
    assert contract == input_json(classifier.spec)


def test_write_onnx__nothing_of_the_machine(either: Exported) -> None:
    _, path = either
    timm = find_spec("timm")
    assert timm is not None
    assert timm.origin is not None
    whole = path.read_bytes()
    roots = [Path.cwd(), Path.home(), Path(sys.prefix), Path(timm.origin).parents[1], path.parent]
    assert not [root for root in roots if root != Path("/") and str(root).encode() in whole]

    words = without_weights(path)  # short strings turn up in weights by chance
    assert len(words) < len(whole) / 4
    assert not re.search(rb"/[\w./-]+\.pyc?\b|site-packages|File \"", words)
    assert not [name for name in (support.HOST, support.USER) if name.encode() in whole]


def test_write_onnx__same_bytes_again_and_from_training_mode(exported: Exported, tmp_path: Path) -> None:
    classifier, path = exported
    trained = replace(classifier, model=copy.deepcopy(classifier.model).train())
    write_onnx(trained, tmp_path / "again.onnx", opset=18, facts={"temperature": 1.0})
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_write_onnx__opset_as_asked(tmp_path: Path) -> None:
    write_onnx(support.tiny("test_efficientnet"), tmp_path / "model.onnx", opset=20, facts={})
    model = onnx.load(tmp_path / "model.onnx")
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [20]
    assert model.ir_version == 9


@pytest.mark.parametrize(("opset", "version"), [(18, 8), (19, 9), (20, 9)])
def test_least_ir_version__follows_the_operator_set(opset: int, version: int) -> None:
    assert least_ir_version(opset) == version


@pytest.mark.parametrize("home", ["/", "/w"])
def test_places_in__a_short_folder_is_in_any_weights_by_chance(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    monkeypatch.setattr(sys, "prefix", home)
    assert not places_in(b"//w/" * 3)


def test_warn_of_places__names_file_and_folder_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", "/home/[someone]")
    warn_of_places(Path("deep/model.onnx"), b"\0\1/home/[someone]/work/net.py\0")
    said = "".join(capsys.readouterr())
    assert "Warning: model.onnx mentions /home/[someone], a folder of this machine" in said


class Branching(nn.Module):
    """Looks at the values of its input to choose what to compute."""

    def forward(self, features: Tensor) -> Tensor:
        return features * 2 if features.sum() > 0 else features


@pytest.mark.parametrize(("extra", "before"), [(Branching, {}), (support.Sorting, {"model.onnx": b"old"})])
def test_write_onnx__what_onnx_cannot_express(tmp_path: Path, extra: type[nn.Module], before: dict[str, bytes]) -> None:
    for name, data in before.items():
        (tmp_path / name).write_bytes(data)
    classifier = support.tiny("test_efficientnet")
    classifier.model.conv_head = nn.Sequential(classifier.model.conv_head, extra())  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"test_efficientnet cannot be expressed in ONNX opset 18: \w") as error:
        write_onnx(classifier, tmp_path / "model.onnx", opset=18, facts={})
    assert "\n" not in str(error.value)
    assert support.files_below(tmp_path) == before
