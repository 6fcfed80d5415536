import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax

from data.config import Kind
from models.temperature import BOUNDS, fit_temperature

KINDS: list[Kind] = ["nominal", "multilabel"]


def drawn(temperature: float, kind: Kind, count: int = 20_000) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits, and labels drawn from what they say once divided by ``temperature``."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (count, 4))
    if kind == "multilabel":
        return logits, (generator.random((count, 4)) < expit(logits / temperature)).astype(np.float64)
    chances = softmax(logits / temperature, axis=1)
    labels = (chances.cumsum(1) < generator.random((count, 1))).sum(1)
    return logits, np.eye(4)[labels]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_fit_temperature__finds_the_one_that_made_the_labels(temperature: float, kind: Kind) -> None:
    assert fit_temperature(*drawn(temperature, kind), kind) == pytest.approx(temperature, rel=0.04)


def test_fit_temperature__soft_targets() -> None:
    logits, _ = drawn(1.0, "nominal", 500)
    assert fit_temperature(logits, softmax(logits / 3.0, axis=1), "nominal") == pytest.approx(3.0, rel=1e-3)
    assert fit_temperature(logits, expit(logits / 3.0), "multilabel") == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sign", [1, -1])
def test_fit_temperature__stays_within_bounds(sign: int, kind: Kind) -> None:
    """Always right asks for no temperature at all, always wrong for an endless one."""
    logits = np.array([[0.5, -0.5], [-0.5, 0.5]])
    fitted = fit_temperature(sign * logits, np.eye(2), kind)
    assert fitted == pytest.approx(BOUNDS[0] if sign > 0 else BOUNDS[1], rel=0.05)
