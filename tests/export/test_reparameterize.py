from typing import Any

import pytest
import torch

from export.reparameterize import fuse
from models.classifier import Classifier
from run.errors import UserError
from tests import support
from tests.export.random_models import settled

REPARAMETERISABLE = {"repvit_m0_9", "mobileone_s0", "fastvit_t8"}


def logits_of(classifier: Classifier, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = classifier.model.eval()(images)
    return logits


def convolutions(classifier: Classifier) -> int:
    return sum(isinstance(module, torch.nn.Conv2d) for module in classifier.model.modules())


@pytest.mark.parametrize("name", sorted(REPARAMETERISABLE))
def test_fuse__fewer_layers_give_the_same_logits(name: str) -> None:
    classifier = settled(name, 64, support.FOUR)
    fused = fuse(classifier)
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(logits_of(fused, images), logits_of(classifier, images), rtol=1e-3, atol=1e-3)
    assert convolutions(fused) < convolutions(classifier)


def test_fuse__leaves_the_given_model_as_it_was() -> None:
    classifier = settled("mobileone_s0", 64, support.FOUR)
    before = {name: tensor.clone() for name, tensor in classifier.model.state_dict().items()}
    fuse(classifier)
    after = classifier.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_fuse__what_has_nothing_to_fuse_comes_back_itself() -> None:
    classifier = support.tiny("test_efficientnet", support.FOUR, 64)
    assert fuse(classifier) is classifier


def test_fuse__other_logits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = settled("mobileone_s0", 64, support.FOUR)

    def broken(model: Any) -> Any:
        model.get_classifier().weight.data += 1
        return model

    monkeypatch.setattr("export.reparameterize.reparameterize_model", broken)
    with pytest.raises(UserError, match="mobileone_s0 gives other logits once its branches are fused"):
        fuse(classifier)
