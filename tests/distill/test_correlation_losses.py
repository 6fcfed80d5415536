"""The losses beside plain KL: their defining properties, and values from elsewhere."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy, pearsonr, zscore
from torch import Tensor

from distill.losses import dist, dkd, kl_divergence, standardized_kl_divergence

Loss = Callable[[Tensor, Tensor, float], Tensor]
LOSSES: list[Loss] = [kl_divergence, standardized_kl_divergence, dist, dkd]


def logits(seed: int, rows: int = 6, labels: int = 5) -> Tensor:
    return torch.randn(rows, labels, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 3


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_losses__are_zero_for_the_teacher_itself_and_positive_elsewhere(loss: Loss, temperature: float) -> None:
    assert float(loss(logits(0), logits(0), temperature)) == pytest.approx(0, abs=1e-12)
    assert float(loss(logits(1), logits(0), temperature)) > 0.01


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_losses__gradients_are_right_and_finite(loss: Loss, scale: float) -> None:
    student = (logits(1) * scale).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(student, logits(0) * scale, 1.0), student)
    assert torch.isfinite(gradient).all()
    if scale == 1.0:
        assert torch.autograd.gradcheck(lambda values: loss(values, logits(0), 2.0), student)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses__a_constant_added_to_an_image_changes_nothing(loss: Loss) -> None:
    shifted = logits(1) + torch.arange(6, dtype=torch.float64)[:, None]
    assert float(loss(shifted, logits(0), 1.0)) == pytest.approx(float(loss(logits(1), logits(0), 1.0)))


def test_standardized_kl__is_scipys_of_z_scores_and_does_not_see_scale() -> None:
    student, teacher = logits(1).numpy(), logits(0).numpy()
    p, q = (softmax(zscore(values, axis=1, ddof=1) / 2.0, axis=1) for values in (teacher, student))
    found = float(standardized_kl_divergence(logits(1), logits(0), 2.0))
    assert found == pytest.approx(4 * entropy(p, q, axis=1).mean(), rel=1e-6)
    assert float(standardized_kl_divergence(3 * logits(0) - 1, logits(0), 1.0)) == pytest.approx(0, abs=1e-9)
    assert float(kl_divergence(3 * logits(0) - 1, logits(0), 1.0)) > 0.1


def test_standardized_kl__equal_logits_have_a_finite_gradient() -> None:
    student = torch.zeros(2, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(standardized_kl_divergence(student, torch.ones(2, 3), 1.0), student)
    assert not torch.isnan(gradient).any()


def test_dist__is_scipys_pearson_both_ways() -> None:
    q, p = (softmax(values.numpy() / 1.5, axis=1) for values in (logits(1), logits(0)))
    rows = np.mean([1 - pearsonr(q[row], p[row])[0] for row in range(6)])
    columns = np.mean([1 - pearsonr(q[:, label], p[:, label])[0] for label in range(5)])
    assert float(dist(logits(1), logits(0), 1.5)) == pytest.approx(1.5**2 * (rows + columns))


def test_dkd__with_the_teachers_own_weight_is_kl() -> None:
    for row in range(6):
        student, teacher = logits(1)[row : row + 1], logits(0)[row : row + 1]
        rest = 1 - float((teacher / 2.0).softmax(1).max())
        expected = float(kl_divergence(student, teacher, 2.0))
        assert float(dkd(student, teacher, 2.0, non_target_weight=rest)) == pytest.approx(expected)


def test_dkd__by_hand() -> None:
    """Teacher (1/2, 1/4, 1/4), student (1/4, 1/2, 1/4): KL(1/2 ‖ 1/4) of the target, KL((1/2, 1/2) ‖ (2/3, 1/3))."""
    teacher, student = (
        torch.tensor([row], dtype=torch.float64).log() for row in ([0.5, 0.25, 0.25], [0.25, 0.5, 0.25])
    )
    target = 0.5 * np.log(2) + 0.5 * np.log(0.5 / 0.75)
    rest = 0.5 * np.log(0.5 / (2 / 3)) + 0.5 * np.log(0.5 / (1 / 3))
    assert float(dkd(student, teacher, 1.0)) == pytest.approx(target + 8 * rest)
