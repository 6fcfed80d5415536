import json
import math
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import quant_pre_process
from PIL import Image

from export.golden.kit import is_quantized
from export.int8 import quantize as quantize_module
from export.int8 import static
from export.int8.config import Int8Config
from export.int8.judge import Judge, SweepImages
from export.int8.matmul import MatMulQuantizer
from export.int8.quantize import quantize
from export.int8.result import Candidate, Int8Result, Row, Winner
from export.int8.static import StaticQuantizer, quantize_weights
from export.onnx_file import write_onnx
from export.onnx_graph import metadata_of
from export.runtime import OnnxClassifier
from export.session import open_session, run_one_by_one
from models.building import spec_of
from models.classifier import Classifier
from models.decision import DecisionRule
from run.files import file_digest
from tests import support

Exported = tuple[Path, NDArray[np.float32], NDArray[np.float32]]
"""An fp32 file, pixels of real images and their targets."""

ALL = np.ones(24, np.bool_)
"""Every judged image of ``student`` has a label."""

ANY_SPEED = Int8Config(mode="quick", max_flip_rate=0.5, min_speedup=1e-3)
"""A gate that does not depend on how busy this machine is."""


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A small MobileNetV4, trained until it is sure of what it says about 48 photographs."""
    classifier = support.tiny("mobilenetv4_conv_small_050", size=64)
    pixels, targets = photographs(classifier, 48)
    for parameter in classifier.head.parameters():
        torch.nn.init.normal_(parameter, std=0.01)
    optimizer = torch.optim.AdamW(classifier.model.parameters(), lr=1e-3)
    for module in classifier.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.3
    classifier.model.train()
    for _ in range(20):
        logits = classifier.model(torch.from_numpy(pixels))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return exported(classifier, tmp_path_factory.mktemp("student"), pixels, targets)


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Two blocks of an EVA-02 with random weights."""
    torch.manual_seed(0)
    model = timm.create_model("eva02_tiny_patch14_224", num_classes=2, img_size=56, depth=2).eval()
    torch.nn.init.normal_(model.get_classifier().weight)
    classifier = Classifier(model, "eva02_tiny_patch14_224", support.TWO, spec_of(model).with_size(56))
    return exported(classifier, tmp_path_factory.mktemp("teacher"), *photographs(classifier, 12))


def photographs(classifier: Classifier, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    sound = [path for path, index in support.elpv_rows() if index == 0][: count // 2]
    broken = [path for path, index in support.elpv_rows() if index == 3][: count // 2]
    images = [Image.open(path).convert("RGB") for path in (*sound, *broken)]
    pixels = classifier.spec.normalize(np.stack([classifier.spec.render(image) for image in images]))
    return pixels, np.repeat(np.eye(2, dtype=np.float32), count // 2, axis=0)


def exported(
    classifier: Classifier, folder: Path, pixels: NDArray[np.float32], targets: NDArray[np.float32]
) -> Exported:
    write_onnx(classifier, folder / "model.onnx", opset=18, facts={"license": "apache-2.0"})
    return folder / "model.onnx", pixels, targets


def sweep_images(student: Exported, labeled: NDArray[np.bool_] = ALL) -> SweepImages:
    """Every other image for ranges; the others are judged."""
    _, pixels, targets = student
    return SweepImages(pixels[::2], pixels[1::2], targets[1::2], labeled)


def quantized(student: Exported, path: Path, config: Int8Config = ANY_SPEED, temperature: float = 1.0) -> Int8Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.int8.judge.fit_temperature", lambda *_: temperature)
        return quantize(student[0], path, sweep_images(student), config)


def winner_of(result: Int8Result) -> Winner:
    assert result.winner is not None
    return result.winner


@pytest.fixture(scope="module")
def winner(student: Exported, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Int8Result]:
    path = tmp_path_factory.mktemp("winner") / "model_quantized.onnx"
    with support.named_machine():
        return path, quantized(student, path)


def logits_of(path: Path, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return OnnxClassifier(path).logits(pixels)


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


def test_quantize__winner_is_what_its_row_says(student: Exported, winner: tuple[Path, Int8Result]) -> None:
    source = student[0]
    path, result = winner
    images = sweep_images(student)
    ours, theirs = (logits_of(file, np.asarray(images.judged)).argmax(1) for file in (path, source))
    found = winner_of(result)
    assert (result.images.ranges, result.images.judged, found.n) == (24, 24, 24)
    assert found.flips == (ours != theirs).sum()
    assert found.flips / 24 < found.most_flips <= 0.5
    assert found.accuracy == pytest.approx((ours == images.targets.argmax(1)).mean())
    assert found.bytes == path.stat().st_size < 0.5 * source.stat().st_size
    assert winner_of(result).sha256 == file_digest(path)


def test_quantize__winner_is_one_valid_int8_file(winner: tuple[Path, Int8Result]) -> None:
    model = onnx.load(winner[0])
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert "QuantizeLinear" in operators(winner[0])
    assert not any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer)


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_quantize__winner_runs_at_any_batch(student: Exported, winner: tuple[Path, Int8Result], batch: int) -> None:
    assert logits_of(winner[0], student[1][:batch]).shape == (batch, 2)


def test_quantize__winner_carries_metadata_and_how_it_was_made(
    student: Exported, winner: tuple[Path, Int8Result]
) -> None:
    path, result = winner
    metadata = metadata_of(onnx.load(path))
    assert metadata_of(onnx.load(student[0])).items() <= metadata.items()
    facts = json.loads(metadata["quantization"])
    assert {**facts, "excluded": tuple(facts["excluded"])}.items() <= asdict(winner_of(result)).items()
    assert set(facts) == {"method", "per_channel", "activation", "excluded", "temperature"}


def test_quantize__winner_names_no_place(winner: tuple[Path, Int8Result]) -> None:
    data = winner[0].read_bytes()
    for word in ("/tmp/", str(Path.home()) + "/", str(Path.cwd()), support.HOST, support.USER):
        assert word.encode() not in data


def test_quantize__own_temperature_divides_the_logits(
    student: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static, "candidates", lambda mode: [Candidate("MinMax", True, "QUInt8")])
    quantized(student, tmp_path / "one.onnx")
    result = quantized(student, tmp_path / "two.onnx", temperature=2.0)
    one, two = (logits_of(tmp_path / name, student[1]) for name in ("one.onnx", "two.onnx"))
    assert winner_of(result).temperature == 2.0
    np.testing.assert_allclose(two, one / 2, rtol=1e-5)


def test_quantize__temperature_is_fitted_to_every_labeled_image(
    student: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labeled = np.arange(24) < 5
    images = sweep_images(student, labeled)
    seen: list[Any] = []

    def fit(logits: NDArray[np.floating], given: NDArray[np.floating], rule: DecisionRule) -> float:
        assert (len(logits), rule.labels.kind) == (5, "nominal")
        seen.append(given)
        return 1.5

    monkeypatch.setattr("export.int8.judge.fit_temperature", fit)
    result = quantize(student[0], tmp_path / "q.onnx", images, ANY_SPEED)
    np.testing.assert_array_equal(seen[0], images.targets[:5])
    assert [row.temperature for row in result.candidates if isinstance(row, Row)] == [1.5] * 2


def test_quantize__without_labels_nothing_is_said_of_accuracy(student: Exported, tmp_path: Path) -> None:
    path = tmp_path / "q.onnx"
    result = quantize(student[0], path, sweep_images(student, ~ALL), ANY_SPEED)
    measured = [row for row in result.candidates if isinstance(row, Row)]
    assert [(found.accuracy, found.nll, found.temperature) for found in measured] == [(None, None, 1.0)] * 2
    assert path.is_file()


@pytest.mark.slow
def test_quantize__impossible_budget_writes_nothing_and_says_why(student: Exported, tmp_path: Path) -> None:
    config = Int8Config(mode="full", max_flip_rate=0.5, min_speedup=1e6, exclude_layers=2)
    images = sweep_images(student)
    few_ranges = replace(images, ranges=images.ranges[:6])  # each layer's cost is measured on them
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.int8.judge.fit_temperature", lambda *_: 1.0)
        result = quantize(student[0], tmp_path / "out" / "q.onnx", few_ranges, config)
    assert not (tmp_path / "out").exists()
    assert result.winner is None
    assert result.reason.startswith("no INT8 file: none of 14 candidates passed the gate")
    reasons = [str(row.why_not) for row in result.candidates]
    assert all("fast enough" in reason or "decision" in reason for reason in reasons)
    assert len({(row.method, row.per_channel, row.activation) for row in result.candidates[:12]}) == 12
    costs = [cost.kl for cost in result.layer_costs]
    assert costs == sorted(costs, reverse=True)
    costliest, next_one = (cost.nodes for cost in result.layer_costs[:2])
    assert result.candidates[12].excluded == costliest
    assert result.candidates[13].excluded == (*costliest, *next_one)
    result.write(tmp_path)
    assert Int8Result.read(tmp_path) == result


def test_static_quantizer__excluded_layers_stay_float(student: Exported, tmp_path: Path) -> None:
    source, pixels, _ = student
    quantizer = StaticQuantizer(quantize_module._prepare(source, tmp_path), pixels[:4])
    first = quantizer.layers()[0]
    excluded = Candidate("MinMax", False, "QUInt8", first)
    quantizer.write(tmp_path / "all.onnx", Candidate("MinMax", False, "QUInt8"))
    quantizer.write(tmp_path / "without.onnx", excluded)
    whole, without = (len(onnx.load(tmp_path / name).graph.node) for name in ("all.onnx", "without.onnx"))
    weights = {t.name: t.data_type for t in onnx.load(tmp_path / "without.onnx").graph.initializer}
    stem = next(node for node in onnx.load(tmp_path / "without.onnx").graph.node if node.name == first[0])
    assert weights[stem.input[1]] == onnx.TensorProto.FLOAT
    assert without < whole


def test_static_quantizer__behind_the_last_pooling_only_weights_are_int8(student: Exported, tmp_path: Path) -> None:
    source, pixels, _ = student
    StaticQuantizer(quantize_module._prepare(source, tmp_path), pixels[:4]).write(
        tmp_path / "int8.onnx", Candidate("MinMax", True, "QUInt8")
    )
    graph = onnx.load(tmp_path / "int8.onnx").graph
    made_by = {name: node for node in graph.node for name in node.output}
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    (pooling,) = (place for place, node in enumerate(graph.node) if node.op_type == "ReduceMean")
    layers = [node for node in graph.node[pooling:] if node.op_type in static.LAYERS]
    assert [node.op_type for node in layers] == ["Conv", "Gemm"]
    for node in layers:
        assert made_by[node.input[0]].op_type not in ("QuantizeLinear", "DequantizeLinear")
        weights = made_by[node.input[1]]
        assert weights.op_type == "DequantizeLinear"
        assert types[weights.input[0]] == onnx.TensorProto.INT8


@pytest.mark.parametrize("source", ["student", "transformer"])
def test_quantize_weights__a_quarter_of_the_bytes_and_nearly_the_same_logits(
    source: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path, pixels, _ = request.getfixturevalue(source)
    model = onnx.load(path)
    onnx.save(model, tmp_path / "float.onnx")
    onnx.save(model, tmp_path / "int8.onnx")
    quantize_weights(tmp_path / "int8.onnx", {node.name for node in model.graph.node})
    assert (tmp_path / "int8.onnx").stat().st_size < 0.4 * (tmp_path / "float.onnx").stat().st_size
    expected, found = (run_one_by_one(open_session(tmp_path / f"{name}.onnx"), pixels) for name in ("float", "int8"))
    assert 0 < np.abs(found - expected).max() < 0.2 * expected.std()


def test_quantize_weights__shared_by_two_layers(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("MatMul", ["pixel_values", "shared"], ["hidden"], "first"),
        onnx.helper.make_node("MatMul", ["hidden", "shared"], ["logits"], "second"),
    ]
    values = [onnx.helper.make_tensor_value_info(name, 1, [1, 8]) for name in ("pixel_values", "logits")]
    graph = onnx.helper.make_graph(
        nodes, "shared", values[:1], values[1:], [onnx.numpy_helper.from_array(weights, "shared")]
    )
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "int8.onnx")
    quantize_weights(tmp_path / "int8.onnx", {"first", "second"})
    assert "shared" not in [tensor.name for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer]
    given = np.ones((1, 8), np.float32)
    for options in (onnxruntime.SessionOptions(), exact()):
        found = onnxruntime.InferenceSession(tmp_path / "int8.onnx", options).run(None, {"pixel_values": given})[0]
        np.testing.assert_allclose(found, given @ weights @ weights, atol=0.2)


def test_prepare__every_node_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Those that the optimizer makes have none, and would all be left out with one of them."""
    nodes = [onnx.helper.make_node("Relu", ["pixel_values"], ["a"]), onnx.helper.make_node("Exp", ["a"], ["logits"])]
    values = [onnx.helper.make_tensor_value_info(name, 1, [1, 8]) for name in ("pixel_values", "logits")]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "unnamed", values[:1], values[1:]))
    onnx.save(model, tmp_path / "model.onnx")
    names = [node.name for node in onnx.load(quantize_module._prepare(tmp_path / "model.onnx", tmp_path)).graph.node]
    assert all(names)
    assert len(set(names)) == len(names) == 2


def exact() -> onnxruntime.SessionOptions:
    """Options of the mode in which ONNX Runtime adds products in 32 bits on every processor."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


@pytest.mark.parametrize("method", ["MinMax", "dynamic"])
def test_write__int8_of_a_processor_that_adds_in_16_bits_is_that_of_any_other(
    method: Literal["MinMax", "dynamic"], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Without VNNI, ONNX Runtime adds pairs of products in 16 bits unless asked to be exact, which no app does."""
    source, pixels, _ = request.getfixturevalue("student" if method == "MinMax" else "transformer")
    prepared = quantize_module._prepare(source, tmp_path)
    quantizer = StaticQuantizer(prepared, pixels[:4]) if method == "MinMax" else MatMulQuantizer(prepared)
    quantizer.write(tmp_path / "int8.onnx", Candidate(method, True, "QUInt8"))
    fast, slow = (
        run_one_by_one(onnxruntime.InferenceSession(tmp_path / "int8.onnx", options), pixels[:8])
        for options in (onnxruntime.SessionOptions(), exact())
    )
    np.testing.assert_allclose(fast, slow, atol=1e-5)


def test_quantize__candidate_that_cannot_be_made_is_a_row(
    student: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = StaticQuantizer.write

    def write(self: StaticQuantizer, path: Path, candidate: Candidate, only: tuple[str, ...] = ()) -> None:
        if not candidate.per_channel:
            raise RuntimeError("no such kernel\nand more")
        original(self, path, candidate, only)

    monkeypatch.setattr(StaticQuantizer, "write", write)
    result = quantized(student, tmp_path / "q.onnx")
    assert result.candidates[0].why_not == "ONNX Runtime cannot make or run it: no such kernel"
    assert winner_of(result).per_channel
    result.write(tmp_path)
    assert Int8Result.read(tmp_path) == result


def test_quantize__interrupted_leaves_nothing(
    student: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(quantize_module, "seal", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quantized(student, tmp_path / "q.onnx")
    assert not list(tmp_path.iterdir())


SCRIPT = """
import math, sys
from pathlib import Path
import numpy as np
from export.int8 import judge, quantize as int8
from export.int8.config import Int8Config
int8.SLOWER = math.inf
source, arrays, path = map(Path, sys.argv[1:])
given = np.load(arrays)
config = Int8Config(mode="quick", max_flip_rate=0.5, min_speedup=1e-3)
judge.fit_temperature = lambda *_: 1.0
pixels, targets = given["pixels"], given["targets"]
int8.quantize(source, path, judge.SweepImages(pixels[::2], pixels[1::2], targets[1::2], np.ones(24, bool)), config)
"""


@pytest.mark.slow
def test_quantize__another_process_makes_the_same_bytes(
    student: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, pixels, targets = student
    monkeypatch.setattr(quantize_module, "SLOWER", math.inf)
    quantized(student, tmp_path / "here.onnx")
    np.savez(tmp_path / "given.npz", pixels=pixels, targets=targets)
    arguments = [str(source), str(tmp_path / "given.npz"), str(tmp_path / "there.onnx")]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", SCRIPT, *arguments], check=True, env=environment)
    assert (tmp_path / "here.onnx").read_bytes() == (tmp_path / "there.onnx").read_bytes()


def test_quantize__of_a_transformer_only_matrix_products_are_quantized(
    transformer: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, pixels, _ = transformer
    config = Int8Config(mode="full", max_flip_rate=0.9, min_speedup=1e-3)
    path = tmp_path / "q.onnx"
    monkeypatch.setattr("export.int8.judge.fit_temperature", lambda *_: 2.0)
    result = quantize(source, path, sweep_images(transformer, ALL[:6]), config)
    assert result.winner is not None
    assert [row.why_not for row in result.candidates] == [None] * 4
    assert {row.method for row in result.candidates} == {"dynamic", "weight-only"}
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert operators(path) & {"MatMulInteger", "MatMulNBits"}
    assert is_quantized(path)
    assert not is_quantized(source)
    assert not operators(path) & {"ConvInteger", "QLinearConv", "QuantizeLinear"}
    assert path.stat().st_size < 0.6 * source.stat().st_size
    ours, theirs = logits_of(path, pixels) * 2, logits_of(source, pixels)
    assert np.abs(ours - theirs).max() < 0.1 * np.abs(theirs).max()
    for batch in (1, 3, 16):
        assert logits_of(path, np.resize(pixels, (batch, *pixels.shape[1:]))).shape == (batch, 2)


def test_run__images_of_a_dynamic_file_do_not_see_each_other(transformer: Exported, tmp_path: Path) -> None:
    source, pixels, _ = transformer
    path = tmp_path / "q.onnx"
    quant_pre_process(source, tmp_path / "prepared.onnx")
    MatMulQuantizer(tmp_path / "prepared.onnx").write(path, Candidate("dynamic", True, "QUInt8"))
    two = np.stack([pixels[0], 8 * pixels[1]])
    alone = logits_of(path, two[:1])[0]
    assert (logits_of(path, two)[0] != alone).any(), "ONNX Runtime takes the scales from the whole batch"
    np.testing.assert_array_equal(run_one_by_one(open_session(path), two)[0], alone)
    images, model = [Image.new("RGB", (40, 40), "gray"), support.picture(40, 40, 1)], OnnxClassifier(path)
    np.testing.assert_array_equal(model.probabilities(images)[0], model.probabilities(images[:1])[0])


def test_judge__another_model_is_refused_for_its_flips(student: Exported, tmp_path: Path) -> None:
    source = student[0]
    other = onnx.load(source)
    for tensor in other.graph.initializer:
        if tensor.name == "classifier.weight":
            negated = -onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(negated, tensor.name))
    onnx.save(other, tmp_path / "other.onnx")
    judge = Judge(source, sweep_images(student), ANY_SPEED, tries=1)
    row = judge.measure(tmp_path / "other.onnx", Candidate("MinMax", True, "QUInt8"))
    assert "of 24 images change their decision: up to" in str(row.why_not)
    assert isinstance(row, Row)
    assert row.ms is None


def few(student: Exported, ranges: int, judged: int) -> SweepImages:
    _, pixels, targets = student
    return SweepImages(pixels[:ranges], pixels[24 : 24 + judged], targets[24 : 24 + judged], ALL[:judged])


@pytest.mark.parametrize(
    ("ranges", "judged", "config", "words"),
    [
        (9, 0, {}, "a single candidate, with 95% confidence, that at most 2.00% of decisions change takes 149 images"),
        (9, 1, {"max_flip_rate": 0.01}, "takes 299 images without a change, and there is 1: raise data.splits.val"),
        (9, 16, {"max_flip_rate": 0.2}, "to show for 2 candidates, with 95% confidence, .* takes 17 images .* are 16:"),
        (0, 24, {"max_flip_rate": 0.5}, "there are no training images to take ranges from"),
        (9, 24, {"mode": "none"}, "export.int8.mode is none"),
    ],
    ids=["no image", "one image", "too few for two candidates", "no ranges", "not asked for"],
)
def test_quantize__what_cannot_be_judged_is_not_tried_and_says_why(
    student: Exported, tmp_path: Path, ranges: int, judged: int, config: dict[str, Any], words: str
) -> None:
    asked = Int8Config(**{"mode": "quick", **config})
    result = quantize(student[0], tmp_path / "q.onnx", few(student, ranges, judged), asked)
    assert not (tmp_path / "q.onnx").exists()
    assert result.winner is None
    assert result.candidates == ()
    assert re.search(words, result.reason), result.reason
    result.write(tmp_path)
    assert Int8Result.read(tmp_path) == result


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_flip_rate": 1.0},
        {"max_flip_rate": 0.0},
        {"confidence": 1.0},
        {"judged": 0},
        {"min_speedup": 0.0},
        {"images": 0},
        {"exclude_layers": -1},
    ],
)
def test_int8_config__refuses_what_types_cannot(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Int8Config(**wrong)
