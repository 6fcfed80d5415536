from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from models.room import holds_one_image, require_room, set_checkpointing
from run.errors import UserError
from tests.support import tiny

CPU = torch.device("cpu")


class Full(nn.Module):
    """A model that memory is too small for."""

    def forward(self, images: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_holds_one_image__leaves_the_model_as_it_is(name: str) -> None:
    classifier = tiny(name)
    classifier.model.train().requires_grad_(True)
    before = classifier.weights_digest()
    assert holds_one_image(classifier, CPU, "bf16-mixed", may_checkpoint=True)
    assert classifier.model.training
    assert classifier.weights_digest() == before
    assert all(weight.grad is None for weight in classifier.model.parameters())


def test_require_room__memory_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = replace(tiny(), model=Full())
    require_room(classifier, CPU, "teacher", precision="32-true")  # a CPU is not asked
    assert not holds_one_image(classifier, CPU, "32-true", may_checkpoint=True)
    message = r"^teacher\.model: training test_vit on a single image of 32 pixels takes more memory than this GPU"
    monkeypatch.setattr("models.room.holds_one_image", lambda *_: False)
    with pytest.raises(UserError, match=message):
        require_room(classifier, torch.device("cuda"), "teacher", precision="32-true")


def test_set_checkpointing__says_whether_the_model_has_it() -> None:
    assert set_checkpointing(tiny().model, True)
    assert not set_checkpointing(nn.Linear(1, 1), True)
