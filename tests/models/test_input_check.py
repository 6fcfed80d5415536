import copy

import pytest
import timm
import torch

from models.classifier import build
from models.input_check import require_size
from run.errors import UserError
from tests.support import TWO


@pytest.mark.parametrize(
    ("name", "size"), [("test_vit", 33), ("test_vit", 8), ("eva02_tiny_patch14_224", 5), ("test_convnext", 1)]
)
def test_build__a_size_the_model_cannot_take(name: str, size: int) -> None:
    with pytest.raises(UserError, match=rf"student x\.image_size: the model cannot take .* {size} x {size} pixels: \w"):
        build(name, TWO, key="student x", pretrained=False, image_size=size)


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "tiny_vit_5m_224", "eva02_tiny_patch14_224"])
def test_require_size__leaves_the_model_as_it_was(name: str) -> None:
    model = timm.create_model(name, num_classes=2).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    require_size(model, 224 if "224" in name else 160, key="teacher")
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert {weight.device.type for weight in model.parameters()} == {"cpu"}
    copy.deepcopy(model)
