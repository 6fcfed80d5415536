from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import timm
import torch

from export.onnx_file import write_onnx
from models import checkpoint
from models.adapting import add_adapters, blocks_of, linear_layers, merge, merged_copy, train_last_blocks
from models.classifier import Classifier
from models.facts import CheckpointFacts
from tests.support import TWO, tiny, uint8_batch

NAME, SIZE = "eva02_tiny_patch14_224", 56
ARCHITECTURES = [
    NAME,
    # Its attention has matrices of their own for queries, keys and values.
    pytest.param("eva02_base_patch14_448", marks=pytest.mark.slow),
]


def images(classifier: Classifier) -> torch.Tensor:
    return classifier.normalize(uint8_batch(4, SIZE))


def a_step(classifier: Classifier) -> list[str]:
    """One of AdamW's on whatever requires gradients; gives the names of weights that got none."""
    trained = {name: weight for name, weight in classifier.model.named_parameters() if weight.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=0.01)
    for _ in range(2):  # an adapter's first half moves once its second is not zero
        optimizer.zero_grad()
        classifier.model(images(classifier))[:, 0].sum().backward()
        optimizer.step()
    return [name for name, weight in trained.items() if weight.grad is None or not weight.grad.any()]


def require_exported(classifier: Classifier, folder: Path, expected: torch.Tensor) -> None:
    write_onnx(classifier, folder / "model.onnx", opset=18, facts={})
    session = ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {"pixel_values": images(classifier).numpy()})
    np.testing.assert_allclose(given, expected.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_adapters__learn_and_merge_into_a_plain_model_that_exports(name: str, tmp_path: Path) -> None:
    classifier = tiny(name, TWO, SIZE)
    model: Any = classifier.model
    keys = model.state_dict().keys()
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    start = model(images(classifier)).detach()
    adapted = add_adapters(classifier, rank=4, alpha=8.0)
    torch.testing.assert_close(model(images(classifier)), start, rtol=1e-5, atol=1e-5)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert {name for name in trained if "lora_" not in name} == {"head.weight", "head.bias"}
    assert a_step(classifier) == [], "each adapter takes part"

    model.eval()
    expected = model(images(classifier)).detach()
    assert (expected - start).abs().max() > 1e-2
    copied = merged_copy(adapted)
    assert copied.state_dict().keys() == keys
    assert any("lora_" in name for name in model.state_dict()), "the copy alone is merged"
    assert merge(adapted) is model
    assert model.state_dict().keys() == keys
    torch.testing.assert_close(model(images(classifier)), expected, rtol=1e-5, atol=1e-5)
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {
        name for name in before if name.endswith("weight") and name[:-7] in linear_layers(model, SIZE)
    } | {
        "head.weight",
        "head.bias",
    }

    checkpoint.save(classifier, tmp_path / "model", CheckpointFacts(labels=TWO, mode="lora"))
    loaded = checkpoint.load(tmp_path / "model", TWO)
    assert loaded.weights_digest() == classifier.weights_digest()
    require_exported(loaded, tmp_path, expected)


@pytest.mark.parametrize(
    ("name", "size", "each"),
    [
        ("eva02_base_patch14_224", 224, 7),  # q, k, v and proj; two ways in and one out of the MLP
        (NAME, SIZE, 4),
        ("test_vit", 32, 4),
    ],
)
def test_linear_layers__those_of_attention_and_mlps(name: str, size: int, each: int) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=2, **({"img_size": size} if size != 224 else {}))
    found = linear_layers(model, size)
    assert len(found) == each * len(blocks_of(model))
    assert all(name.startswith("blocks.") for name in found)


def test_linear_layers__none_in_a_convolutional_model() -> None:
    assert linear_layers(tiny("test_efficientnet").model, 32) == []


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_train_last_blocks__and_what_follows_them(name: str, tmp_path: Path) -> None:
    classifier = tiny(name, TWO, SIZE)
    train_last_blocks(classifier.model, 2)
    trained = {name for name, weight in classifier.model.named_parameters() if weight.requires_grad}
    parts = {".".join(name.split(".")[: 2 if name.startswith("blocks") else 1]) for name in trained}
    assert parts == {"blocks.10", "blocks.11", "norm", "fc_norm", "head"} - (
        {"norm", "fc_norm"} - {name.split(".")[0] for name, _ in classifier.model.named_parameters()}
    )
    before = classifier.weights_digest(backbone_only=True)
    assert a_step(classifier) == []
    assert classifier.weights_digest(backbone_only=True) != before
    classifier.model.eval()
    require_exported(classifier, tmp_path, classifier.model(images(classifier)).detach())


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("test_vit", 6),
        ("test_efficientnet", 5),
        ("test_convnext", 9),
        ("swin_tiny_patch4_window7_224", 12),
        ("test_resnet", 0),
    ],
)
def test_blocks_of__whatever_timm_calls_them(name: str, count: int) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=2)
    assert len(blocks_of(model)) == count
