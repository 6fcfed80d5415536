import numpy as np
import pytest
import torch
from torch.nn import functional

from data.labels import LabelSet
from models.calibrate import calibrate
from models.classifier import Classifier, build
from tests.support import FOUR, tiny, uint8_batch


def test_calibrate__divides_the_models_logits() -> None:
    classifier = tiny()
    images = classifier.normalize(uint8_batch(64, 32))
    with torch.no_grad():
        classifier.head.bias.copy_(torch.tensor([0.3, -0.2]))
        before = classifier.model(images)
        targets = (before / 3).softmax(1)
        facts = calibrate(classifier, before.numpy(), targets.numpy())
        after = classifier.model(images)
    assert facts["temperature"] == pytest.approx(3.0, rel=1e-2)
    assert facts["n"] == 64
    torch.testing.assert_close(after, before / facts["temperature"])
    assert facts["nll_before"] == pytest.approx(functional.cross_entropy(before, targets).item(), rel=1e-5)
    assert facts["nll_after"] == pytest.approx(functional.cross_entropy(after, targets).item(), rel=1e-5)
    assert isinstance(facts["nll_after"], float)
    assert facts["nll_after"] < facts["nll_before"]  # type: ignore[operator]


def test_calibrate__a_multilabel_set_has_one_temperature_for_its_sigmoids() -> None:
    classifier = tiny(labels=LabelSet(("a", "b", "c"), "multilabel"))
    images = classifier.normalize(uint8_batch(64, 32))
    with torch.no_grad():
        before = classifier.model(images)
        targets = (before / 2).sigmoid()
        facts = calibrate(classifier, before.numpy(), targets.numpy())
        after = classifier.model(images)
    assert facts["temperature"] == pytest.approx(2.0, rel=1e-2)
    expected = 3 * functional.binary_cross_entropy_with_logits(after, targets).item()
    assert facts["nll_after"] == pytest.approx(expected, rel=1e-5)


def headed(name: str, size: int | None) -> Classifier:
    torch.manual_seed(0)
    classifier = build(name, FOUR, key="student", pretrained=False, image_size=size)
    for layer in classifier.heads:
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    classifier.model.eval()
    return classifier


@pytest.mark.parametrize(
    ("name", "size", "count"), [("repvit_m0_9", 64, 2), ("levit_128s", None, 2), ("efficientformerv2_s0", None, 2)]
)
def test_calibrate__every_layer_that_gives_logits_is_divided(name: str, size: int | None, count: int) -> None:
    classifier = headed(name, size)
    assert len(classifier.heads) == count
    images = classifier.normalize(uint8_batch(2, classifier.spec.size))
    with torch.no_grad():
        before = classifier.model(images)
        facts = calibrate(classifier, before.numpy(), (before / 4).softmax(1).numpy())
        after = classifier.model(images)
    assert facts["temperature"] == pytest.approx(4.0, rel=1e-2)
    torch.testing.assert_close(after, before / facts["temperature"], rtol=1e-4, atol=1e-5)
    assert np.isfinite(after.numpy()).all()
