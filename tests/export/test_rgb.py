import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from PIL import Image

from benchmarks.resizing import resizing
from data.labels import LabelSet
from export.rgb import postprocessing, preprocessing, write_rgb
from export.runtime import OnnxClassifier, RgbClassifier
from models.decision import DecisionRule, Point
from models.spec import InputSpec
from run.errors import UserError
from tests.export.random_models import exported
from tests.support import FOUR, TWO, elpv_rows, picture

Pixels = NDArray[np.int64]

SIZES = (112, 224, 448)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DEGENERATE = [(1, 1), (2, 1), (1, 735), (735, 1), (3, 1000), (1000, 3), (17, 3000), (3000, 17), (30, 2000), (2000, 30)]


def point(name: str, threshold: float) -> Point:
    return Point(name=name, threshold=threshold, recall=0.9, confidence=0.95)


def squash(size: int) -> InputSpec:
    return InputSpec(size, MEAN, STD)


def center(size: int, crop_pct: float = 0.875) -> InputSpec:
    return InputSpec(size, MEAN, STD, "center", crop_pct)


def like(opset: int = 18) -> onnx.ModelProto:
    graph = onnx.helper.make_graph([], "empty", [], [])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@cache
def resizer(spec: InputSpec) -> ort.InferenceSession:
    return session(resizing(spec))


def in_graph(spec: InputSpec, image: Image.Image) -> Pixels:
    (pixels,) = resizer(spec).run(None, {"image": np.asarray(image)})
    assert pixels.dtype == np.uint8
    return np.asarray(pixels[0].transpose(1, 2, 0), np.int64)


def levels(spec: InputSpec, image: Image.Image) -> Pixels:
    """How far the graph is from Python for each pixel, the worst of its channels."""
    difference: Pixels = np.abs(in_graph(spec, image) - spec.render(image)).max(-1)
    return difference


def noise(width: int, height: int, seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def gradient(width: int, height: int, seed: int) -> Image.Image:
    bands = [Image.linear_gradient("L"), Image.radial_gradient("L"), Image.linear_gradient("L").rotate(90)]
    image = Image.merge("RGB", bands[seed % 3 :] + bands[: seed % 3])
    return image.resize((width, height), Image.Resampling.BILINEAR)


def photographs(count: int) -> Iterator[Image.Image]:
    """Real photographs: as they are, colored and resized, and colored and cropped, in turn."""
    generator = np.random.default_rng(7)
    for number, (path, _) in enumerate(elpv_rows()[:count]):
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        if number % 3:
            tint = generator.uniform(0.3, 1, 3)
            image = Image.fromarray((np.asarray(image) * tint).astype(np.uint8))
            width, height = (int(side) for side in generator.integers(20, 900 if number % 3 == 1 else 280, 2))
            image = image.resize((width, height)) if number % 3 == 1 else image.crop((10, 15, 10 + width, 15 + height))
        yield image


def drawn(count: int) -> Iterator[Image.Image]:
    """Noise and gradients of many sizes, small ones as often as large ones."""
    generator = np.random.default_rng(8)
    for number in range(count):
        width, height = (int(2**exponent) for exponent in generator.uniform(0, 10, 2))
        yield (noise if number % 2 else gradient)(width, height, number)


def image_set() -> list[Image.Image]:
    edges = [make(*size, 1) for size in DEGENERATE for make in (noise, gradient)]
    return [*photographs(120), *drawn(70), *edges]


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spec_of", [squash, center])
def test_resizing__equals_python(spec_of: Any, size: int) -> None:
    images = image_set()
    assert len(images) >= 200
    spec = spec_of(size)
    # the Python side of a center crop makes the whole enlarged image first: gigabytes for the thinnest ones
    usable = [image for image in images if spec.mode == "squash" or max(image.size) <= 200 * min(image.size)]
    difference = np.stack([levels(spec, image) for image in usable])
    assert difference.max() == 0


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    size=st.sampled_from([32, 112, 224]),
    crop_pct=st.sampled_from([None, 0.875, 0.9, 0.95, 1.0]),
    smooth=st.booleans(),
    seed=st.integers(0, 9),
)
def test_resizing__any_size(
    width: int, height: int, size: int, crop_pct: float | None, smooth: bool, seed: int
) -> None:
    spec = squash(size) if crop_pct is None else center(size, crop_pct)
    if crop_pct is not None:  # see above: nothing is gained by waiting for Python's side
        width, height = max(width, height // 100), max(height, width // 100)
    assert levels(spec, (gradient if smooth else noise)(width, height, seed)).max() == 0


@pytest.mark.parametrize("wide", [False, True])
def test_resizing__thinnest_image_is_cropped_before_it_grows(wide: bool) -> None:
    """1 × 8000 in a center crop: 512 × 4,096,000 pixels, of which 448 × 448 are kept."""
    spec = center(448)
    line = np.random.default_rng(0).integers(0, 256, (8000, 1, 3), np.uint8)
    image = Image.fromarray(line.transpose(1, 0, 2) if wide else line)
    top = round((8000 * 512 - 448) / 2)
    first = Image.fromarray(line).resize((448, 8000), Image.Resampling.BICUBIC)
    kept = (0, top / 512, 448, (top + 448) / 512)
    expected = np.asarray(first.resize((448, 448), Image.Resampling.BICUBIC, box=kept), np.int64)
    if wide:
        expected = expected.transpose(1, 0, 2)
    difference = np.abs(in_graph(spec, image) - expected)
    assert difference.max() <= 1, "Pillow's box is in float32"
    assert (difference == 0).mean() >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("spec", [squash(224), center(224)])
def test_resizing__48_megapixels(spec: InputSpec) -> None:
    assert levels(spec, noise(8000, 6000, 0)).max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (33, 1000), (224, 224), (5000, 7)])
def test_resizing__digits_cannot_overflow_16_bits(shape: tuple[int, int]) -> None:
    """Processors without VNNI add two products of a pixel and a digit in 16 bits, which this one may not."""
    model = resizing(squash(224))
    names = ["rgb_width_digits", "rgb_height_digits"]
    shape_of = ["blocks", "pixels", "digits"]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT8, shape_of) for name in names
    )
    for digits in session(model).run(names, {"image": np.zeros((*shape, 3), np.uint8)}):
        assert 2 * 255 * int(np.abs(digits.astype(np.int64)).max()) < 2**15


def test_resizing__a_height_first_resize_is_noticed() -> None:
    """The comparison can fail: the other order of passes is far off."""
    image, spec = noise(24, 1200, 0), squash(112)
    bicubic = Image.Resampling.BICUBIC
    swapped = np.asarray(image.resize((24, 112), bicubic).resize((112, 112), bicubic), np.int64)
    assert np.abs(in_graph(spec, image) - swapped).max() > 2
    assert levels(spec, image).max() == 0


@pytest.mark.parametrize("opset", [18, 19, 20])
@pytest.mark.parametrize("spec", [squash(32), center(32)])
def test_preprocessing__is_render_and_normalize(spec: InputSpec, opset: int) -> None:
    run = session(preprocessing(spec, like(opset)))
    for image in (picture(90, 60), picture(7, 50), picture(33, 32)):
        (values,) = run.run(None, {"image": np.asarray(image)})
        pixels = in_graph(spec, image).astype(np.uint8)
        assert values.dtype == np.float32
        np.testing.assert_allclose(values[0], spec.normalize(pixels), rtol=0, atol=1e-6)


@pytest.mark.parametrize("spec", [squash(112), center(112)])  # of all sizes, every pixel is compared above
def test_write_rgb__scores_are_those_of_the_python_path(tmp_path: Path, spec: InputSpec) -> None:
    body = exported(tmp_path, FOUR, spec)
    write_rgb(body, tmp_path / "rgb.onnx")
    python, graph = OnnxClassifier(body), RgbClassifier(tmp_path / "rgb.onnx")
    images = [*photographs(20), *drawn(10), *(noise(*shape, 1) for shape in [(1, 1), (1, 90), (90, 1)])]
    expected, found = (model.probabilities(images) for model in (python, graph))
    assert np.abs(expected - found).max() <= 1e-4
    assert len(set(expected.argmax(1).tolist())) > 1 or np.ptp(expected) > 0.2, "a constant answer proves nothing"


def test_write_rgb__outputs(tmp_path: Path) -> None:
    write_rgb(exported(tmp_path, FOUR, squash(32)), tmp_path / "rgb.onnx")
    found = RgbClassifier(tmp_path / "rgb.onnx").outputs(picture(50, 20))
    probabilities, scores = found["probabilities"], found["scores"]
    assert probabilities.dtype == scores.dtype == np.float32
    assert probabilities.shape == scores.shape == (4,)
    assert probabilities.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(scores, [probabilities[k:].sum() for k in range(4)], atol=1e-6)


def test_write_rgb__nominal_labels_have_no_scores_and_nothing_that_is_not_used(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_rgb(exported(tmp_path, TWO, center(32)), tmp_path / "rgb.onnx")
    assert set(RgbClassifier(tmp_path / "rgb.onnx").outputs(picture())) == {"probabilities", "decision"}
    capfd.readouterr()
    ort.InferenceSession(tmp_path / "rgb.onnx", providers=["CPUExecutionProvider"])
    assert capfd.readouterr().err == "", "ONNX Runtime warns of weights that no node reads"


def test_write_rgb__nominal_labels_share_one_softmax(tmp_path: Path) -> None:
    body = exported(tmp_path, LabelSet(FOUR.names, "nominal"), squash(32))
    write_rgb(body, tmp_path / "rgb.onnx")
    whole, model = RgbClassifier(tmp_path / "rgb.onnx"), OnnxClassifier(body)
    for image in (picture(), picture(90, 60, seed=3)):
        powers = np.exp(model.logits(model.prepare([image])).astype(np.float64))
        np.testing.assert_allclose(whole.probabilities([image]), powers / powers.sum(), rtol=0, atol=1e-6)


def test_write_rgb__a_multilabel_set_has_a_sigmoid_each(tmp_path: Path) -> None:
    body = exported(tmp_path, LabelSet(FOUR.names, "multilabel"), squash(32))
    write_rgb(body, tmp_path / "rgb.onnx")
    whole, model = RgbClassifier(tmp_path / "rgb.onnx"), OnnxClassifier(body)
    assert set(whole.outputs(picture())) == {"probabilities", "decision"}
    logits = model.logits(model.prepare([picture()]))
    np.testing.assert_allclose(whole.probabilities([picture()]), 1 / (1 + np.exp(-logits)), atol=1e-6)
    assert abs(whole.outputs(picture())["probabilities"].sum() - 1) > 0.01


ORDERED = DecisionRule.of_levels(FOUR)
NOMINAL = DecisionRule.of(LabelSet(FOUR.names, "nominal"))
SETS = DecisionRule.of(LabelSet(FOUR.names, "multilabel"))


@pytest.mark.parametrize(
    "rule",
    [
        NOMINAL,
        DecisionRule.of(FOUR),
        SETS,
        ORDERED,
        ORDERED.with_points([point(FOUR.names[2], 0.3)]),
        SETS.with_points([point(FOUR.names[1], 0.25)]),
        NOMINAL.with_points([point(FOUR.names[1], 0.2)]),
        NOMINAL.with_points([point(name, 0.4) for name in FOUR.names]),
    ],
)
def test_postprocessing__decision_is_the_rules(rule: DecisionRule) -> None:
    """Ties among them, and probabilities that are equal to a threshold."""
    run = session(postprocessing(rule, like()))
    generator = np.random.default_rng(0)
    logits = [*generator.normal(0, 1, (40, 4)), *np.log([[1, 1, 1, 1], [2, 1, 1, 2], [1, 2, 2, 1], [4, 3, 2, 1]])]
    decided = set()
    for row in np.array(logits, np.float32):
        outputs = dict(zip([one.name for one in run.get_outputs()], run.run(None, {"logits": row[None]}), strict=True))
        expected = rule.decide(outputs["probabilities"][None])[0]
        assert rule.names(outputs["decision"]) == rule.names(expected)
        decided.add(rule.names(expected))
    assert len(decided) > 3, "a constant answer proves nothing"


def test_write_rgb__file(tmp_path: Path) -> None:
    body = exported(tmp_path, FOUR, squash(32))
    first, second = tmp_path / "rgb.onnx", tmp_path / "again.onnx"
    write_rgb(body, first)
    write_rgb(body, second)
    assert first.read_bytes() == second.read_bytes()
    assert str(tmp_path).encode() not in first.read_bytes()
    source, model = onnx.load(body), onnx.load(first)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import) == (source.ir_version, source.opset_import)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert {entry.key: entry.value for entry in source.metadata_props}.items() <= metadata.items()
    assert json.loads(metadata["outputs"]) == ["probabilities", "scores", "decision"]
    (image,) = model.graph.input
    assert image.name == "image"
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    sides = [side.dim_param or side.dim_value for side in image.type.tensor_type.shape.dim]
    assert sides == ["height", "width", 3]


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Four photographs."""

    def __init__(self, spec: InputSpec) -> None:
        self._values = iter([{"pixel_values": spec.normalize(spec.render(image))[None]} for image in photographs(4)])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._values, None)


def test_write_rgb__int8_body(tmp_path: Path) -> None:
    spec = squash(64)
    body, quantized = exported(tmp_path, FOUR, spec, "test_resnet"), tmp_path / "model_quantized.onnx"
    quantize_static(body, quantized, Calibration(spec), quant_format=QuantFormat.QDQ)
    model = onnx.load(quantized)
    carried = {entry.key: entry.value for entry in onnx.load(body).metadata_props}
    onnx.helper.set_model_props(model, carried)
    onnx.save(model, quantized)
    write_rgb(quantized, tmp_path / "rgb.onnx")
    images = list(photographs(6))
    python, graph = OnnxClassifier(quantized), RgbClassifier(tmp_path / "rgb.onnx")
    assert np.abs(python.probabilities(images) - graph.probabilities(images)).max() <= 1e-4


def test_write_rgb__foreign_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(like(), path)
    with pytest.raises(UserError, match="was not exported by PocketEVA"):
        write_rgb(path, tmp_path / "rgb.onnx")
    assert not (tmp_path / "rgb.onnx").exists()


def test_module__needs_no_torch() -> None:
    script = "import sys, export.rgb, export.golden.check; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False).returncode == 0


STRIPS = """
import numpy as np
from PIL import Image
from tests.data.decode_cases import peak_mib
from tests.export.test_rgb import center, in_graph, squash
before, difference = peak_mib(), 0
for width, height in ((1, 20_000), (20_000, 1), (2, 65_535), (65_535, 1)):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
    for spec in (center(224), squash(224)):
        difference = max(difference, int(abs(in_graph(spec, noise) - spec.render(noise)).max()))
print(difference, peak_mib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_resizing__strips_are_equal_and_take_little_memory() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", STRIPS], check=True, cwd=root, capture_output=True, text=True, timeout=300
    )
    difference, taken = done.stdout.split()
    assert int(difference) == 0
    assert float(taken) < 700
