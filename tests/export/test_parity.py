import copy
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import export.rgb
from data.config import Kind
from data.labels import LabelSet
from data.loaders import load
from export.onnx_file import write_onnx
from export.parity import BATCHES, ROUNDS, _torch_logits, check_parity, check_rgb
from export.parity_record import Fp16Facts, NotWritten, OtherResize, Parity, ParityRecord, RgbParity
from export.rgb import write_rgb
from export.runtime import RgbClassifier
from models.decision import DecisionRule
from models.spec import InputSpec
from run.errors import UserError
from run.files import file_digest
from tests import support
from tests.export import random_models
from tests.export.conftest import Exported


def photographs(count: int) -> list[Image.Image]:
    return [load(str(path)) for path, _ in support.elpv_rows()[:count]]


@pytest.mark.parametrize(
    ("count", "compared", "batches"),
    [(1, 1 + 3, (1, 3)), (5, 2 + 6 + 5, (1, 3, 5)), (40, ROUNDS * sum(BATCHES), BATCHES)],
)
def test_check_parity__the_right_file(exported: Exported, count: int, compared: int, batches: tuple[int, ...]) -> None:
    classifier, path = exported
    found = check_parity(classifier, path, photographs(count), 1e-5)
    assert found.n == compared
    assert found.batches == batches
    assert 0 <= found.largest <= 1e-5
    assert found.largest_logit > 0
    assert found.target == 1e-5
    assert found.sha256 == file_digest(path)
    json.dumps(asdict(found), allow_nan=False)


def test_check_parity__other_weights(exported: Exported) -> None:
    _, path = exported
    other = support.tiny("test_efficientnet", support.FOUR, 64, seed=1)
    with pytest.raises(UserError, match=r"model\.onnx differs from PyTorch by [\d.]+ .*export\.parity \(0\.0001\)"):
        check_parity(other, path, photographs(3), 1e-4)


def test_check_parity__reports_the_largest_difference(exported: Exported) -> None:
    classifier, path = exported
    shifted = copy.deepcopy(classifier)
    with torch.inference_mode():
        shifted.head.bias.add_(torch.tensor([0.01, 0, 0, 0]))
    image = photographs(1)
    found = check_parity(shifted, path, image, 0.5)

    pixels = torch.from_numpy(classifier.spec.normalize(classifier.spec.render(image[0])[None]))
    with torch.inference_mode():
        difference = classifier.model(pixels).softmax(1) - shifted.model(pixels).softmax(1)
    expected = float(difference.abs().max())
    assert found.largest == pytest.approx(expected, rel=0.01)
    # Softmax takes no notice of what all logits have in common: a quarter of the shift.
    assert found.largest_logit == pytest.approx(0.0075, rel=0.01)
    with pytest.raises(UserError, match="differs from PyTorch"):
        check_parity(shifted, path, image, 0.9 * expected)


def test_check_parity__half_of_every_logit_where_probabilities_are_all_0_or_1(
    exported: Exported, tmp_path: Path
) -> None:
    classifier, _ = exported
    saturated, halved = (copy.deepcopy(classifier) for _ in range(2))
    with torch.no_grad():
        for model, factor in ((saturated, 1e5), (halved, 5e4)):
            for parameter in model.head.parameters():
                parameter.mul_(factor)
    write_onnx(halved, tmp_path / "model.onnx", opset=18, facts={})
    images = photographs(3)
    ours, theirs = (
        DecisionRule.of(support.FOUR).probabilities(_torch_logits(model, images)) for model in (saturated, halved)
    )
    assert np.abs(ours - theirs).max() < 1e-4, "the test's logits are not saturated"
    with pytest.raises(
        UserError, match=r"model\.onnx differs from PyTorch by .* in a logit, more than 0\.001 \(10 times"
    ):
        check_parity(saturated, tmp_path / "model.onnx", images, 1e-4)


def test_check_parity__not_a_number(exported: Exported) -> None:
    _, path = exported
    broken = support.tiny("test_efficientnet", support.FOUR, 64)
    with torch.no_grad():
        broken.head.weight.fill_(math.nan)
    with pytest.raises(UserError, match="differs from PyTorch by nan"):
        check_parity(broken, path, photographs(1), 0.5)


@pytest.mark.parametrize(
    "fp16",
    [
        None,
        NotWritten("a number inside reaches 1e+05"),
        Fp16Facts(n=2, flips=1, flip_rate=0.5, largest=0.1, kl=0.2, largest_inside=3.0, bytes=4, sha256="5"),
    ],
)
def test_parity_record__reads_what_it_wrote(tmp_path: Path, fp16: Fp16Facts | NotWritten | None) -> None:
    parity = Parity(
        n=1, batches=(1, 3), largest=1e-6, largest_logit=1e-5, spread=2.0, target=1e-4, sha256="f", weights="w"
    )
    other = OtherResize(library="timm 1", n=13, largest=0.01, image="tall")
    record = ParityRecord(parity, RgbParity(n=1, largest=0.0, target=1e-4), fp16, other)
    record.write(tmp_path)
    assert ParityRecord.read(tmp_path) == record


@pytest.mark.parametrize("text", ["", "{}", '{"onnx/model.onnx": {"n": "many"}, "rgb.onnx": {}}'])
def test_parity_record__damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "parity.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"parity\.json (cannot be read|is not JSON) .*: run `pocketeva export` again"):
        ParityRecord.read(tmp_path)


class NanForBlack(nn.Module):
    """A model that fails on one kind of image only."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        flat = pixels.flatten(1)
        black = flat.max(1).values == flat.min(1).values
        logits: Tensor = self.model(pixels)
        return torch.where(black[:, None], math.nan, logits)


@pytest.mark.parametrize("place", [0, 20])
def test_check_parity__not_a_number_in_any_batch(exported: Exported, place: int) -> None:
    """Image 20 turns up in the last batch only, when finite differences have been seen."""
    classifier, path = exported
    spec = replace(classifier.spec, mean=(0.5,) * 3, std=(0.5,) * 3)
    failing = replace(classifier, model=NanForBlack(classifier.model), spec=spec)
    images = photographs(ROUNDS * BATCHES[-1])
    images[place] = Image.new("RGB", (40, 30))
    with pytest.raises(UserError, match="differs from PyTorch by nan"):
        check_parity(failing, path, images, 2.0)


def rgb_of(folder: Path, kind: Kind = "nominal") -> tuple[Path, Path]:
    """A body and the ``rgb.onnx`` made of it."""
    spec = InputSpec(32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    body = random_models.exported(folder, LabelSet(support.FOUR.names, kind), spec)
    write_rgb(body, folder / "rgb.onnx")
    return body, folder / "rgb.onnx"


@pytest.mark.parametrize("kind", ["nominal", "ordinal", "multilabel"])
def test_check_rgb__the_right_file(tmp_path: Path, kind: Kind) -> None:
    found = check_rgb(*rgb_of(tmp_path, kind), photographs(5), 1e-5)
    assert (found.n, found.target) == (5, 1e-5)
    assert 0 <= found.largest <= 1e-5
    json.dumps(asdict(found), allow_nan=False)


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        ("nominal", "multilabel", r"rgb\.onnx differs from Python's preprocessing by 0\.\d+, above export\.parity"),
        (
            "ordinal",
            "multilabel",
            r"rgb\.onnx: its metadata is not about its graph, .* where .* scores \[4\] is expected",
        ),
        ("multilabel", "nominal", r"rgb\.onnx differs from Python's preprocessing by 0\.\d+, above export\.parity"),
    ],
)
def test_check_rgb__another_activation_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, wrong: Kind, message: str
) -> None:
    right = export.rgb.postprocessing
    rule = DecisionRule.of(LabelSet(support.FOUR.names, wrong))
    monkeypatch.setattr(export.rgb, "postprocessing", lambda _, like: right(rule, like))
    with pytest.raises(UserError, match=message):
        check_rgb(*rgb_of(tmp_path, kind), photographs(3), 1e-2)


@pytest.mark.parametrize("place", [0, 2])
def test_check_rgb__not_a_number_in_any_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    body, path = rgb_of(tmp_path)
    images, right = photographs(3), RgbClassifier.probabilities

    def failing(self: RgbClassifier, given: Sequence[Image.Image]) -> NDArray[np.float32]:
        factor = math.nan if given[0] is images[place] else 1
        return np.asarray(right(self, given) * factor, np.float32)

    monkeypatch.setattr(RgbClassifier, "probabilities", failing)
    with pytest.raises(UserError, match="by nan"):
        check_rgb(body, path, images, 0.5)
