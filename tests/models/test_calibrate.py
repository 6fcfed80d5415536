import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch.nn import functional

from models.calibrate import BOUNDS, calibrate, cross_entropy, fit_temperature
from tests.support import tiny, uint8_batch


def drawn(temperature: float, count: int = 20_000) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits, and labels drawn from what they say once divided by ``temperature``."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (count, 4))
    chances = softmax(logits / temperature, axis=1)
    labels = (chances.cumsum(1) < generator.random((count, 1))).sum(1)
    return logits, np.eye(4)[labels]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_fit_temperature__finds_the_one_that_made_the_labels(temperature: float) -> None:
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.04)


def test_fit_temperature__soft_targets() -> None:
    logits, _ = drawn(1.0, 500)
    assert fit_temperature(logits, softmax(logits / 3.0, axis=1)) == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize("sign", [1, -1])
def test_fit_temperature__stays_within_bounds(sign: int) -> None:
    """Always right asks for no temperature at all, always wrong for an endless one."""
    logits = np.array([[0.5, 0.0], [0.0, 0.5]])
    fitted = fit_temperature(sign * logits, np.eye(2))
    assert fitted == pytest.approx(BOUNDS[0] if sign > 0 else BOUNDS[1], rel=0.05)


def test_cross_entropy__is_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 5, generator=generator, dtype=torch.float64) * 30
    targets = torch.rand(9, 5, generator=generator, dtype=torch.float64).softmax(1)
    expected = functional.cross_entropy(logits, targets).item()
    assert cross_entropy(logits.numpy(), targets.numpy()) == pytest.approx(expected, rel=1e-12)


def test_calibrate__divides_the_models_logits() -> None:
    classifier = tiny()
    images = classifier.normalise(uint8_batch(64, 32))
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
