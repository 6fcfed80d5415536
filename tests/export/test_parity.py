import copy
import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image

from data.loaders import load
from export.parity import BATCHES, ROUNDS, check_parity
from export.parity_record import Fp16Facts, NotWritten, Parity, ParityRecord, RgbParity
from run.errors import UserError
from run.files import file_digest
from tests import support
from tests.export.conftest import Exported


def photographs(count: int) -> list[Image.Image]:
    return [load(str(path)) for path, _ in support.elpv_rows()[:count]]


@pytest.mark.parametrize("count", [1, 5, 40])
def test_check_parity__the_right_file(exported: Exported, count: int) -> None:
    classifier, path = exported
    found = check_parity(classifier, path, photographs(count), 1e-5)
    assert found.n == ROUNDS * sum(BATCHES)
    assert found.batches == (1, 3, 16)
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
    assert found.largest_logit == pytest.approx(0.01, rel=0.01)
    with pytest.raises(UserError, match="differs from PyTorch"):
        check_parity(shifted, path, image, 0.9 * expected)


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
    parity = Parity(n=1, batches=(1, 3), largest=1e-6, largest_logit=1e-5, target=1e-4, sha256="f")
    record = ParityRecord(parity, fp16, RgbParity(n=1, largest=0.0, target=1e-4))
    record.write(tmp_path)
    assert ParityRecord.read(tmp_path) == record


@pytest.mark.parametrize("text", ["", "{}", '{"onnx/model.onnx": {"n": "many"}, "rgb.onnx": {}}'])
def test_parity_record__damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "parity.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"parity\.json cannot be read .*: run `pocketeva export` again"):
        ParityRecord.read(tmp_path)
