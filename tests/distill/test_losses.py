from collections.abc import Callable

import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch import Tensor

from data.labels import LabelSet
from distill.config import LOSSES_FOR, Loss
from distill.losses import (
    LOSSES,
    MULTILABEL_LOSSES,
    binary_kl_divergence,
    distillation_loss,
    kl_divergence,
    labeled_loss,
)
from models.decision import DecisionRule
from train.losses import label_loss

NAMES = ("a", "b", "c", "d")
NOMINAL = DecisionRule.of(LabelSet(NAMES, "nominal"))
ORDINAL = DecisionRule.of(LabelSet(NAMES, "ordinal"))
MULTILABEL = DecisionRule.of(LabelSet(NAMES, "multilabel"))

GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (torch.randn(6, 4, generator=GENERATOR, dtype=torch.float64) * 3 for _ in range(2))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kl_divergence__is_scipys_relative_entropy(temperature: float) -> None:
    p, q = (softmax(logits.numpy() / temperature, axis=1) for logits in (TEACHER, STUDENT))
    expected = entropy(p, q, axis=1).mean() * temperature**2
    assert kl_divergence(STUDENT, TEACHER, temperature).item() == pytest.approx(expected, rel=1e-9)


def test_kl_divergence__by_hand() -> None:
    teacher, student = torch.tensor([[0.0, 0.0]]), torch.log(torch.tensor([[0.8, 0.2]]))
    expected = 0.5 * torch.log(torch.tensor(0.5 / 0.8)) + 0.5 * torch.log(torch.tensor(0.5 / 0.2))
    torch.testing.assert_close(kl_divergence(student, teacher, 1.0), expected)


def test_kl_divergence__is_zero_at_equality_and_up_to_a_shift() -> None:
    assert kl_divergence(TEACHER, TEACHER, 2.0).item() == pytest.approx(0, abs=1e-12)
    assert kl_divergence(TEACHER + 7.0, TEACHER, 2.0).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("loss", [kl_divergence, binary_kl_divergence])
def test_divergences__temperature_keeps_the_gradients_size(loss: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """For mild logits the gradient is that of a squared difference of logits, whatever T is."""
    sizes = []
    for temperature in (1.0, 4.0, 16.0):
        student = (STUDENT / 100).requires_grad_()
        (gradient,) = torch.autograd.grad(loss(student, TEACHER / 100, temperature), student)
        sizes.append(gradient.norm().item())
    assert sizes == pytest.approx([sizes[0]] * 3, rel=0.05)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_binary_kl_divergence__sums_two_outcome_divergences(temperature: float) -> None:
    """A coin is a distribution over two labels, with the logit as their difference."""
    coins = [
        kl_divergence(
            torch.stack([STUDENT[:, label], torch.zeros(6)], 1), torch.stack([TEACHER[:, label], torch.zeros(6)], 1), t
        )
        for label in range(4)
        for t in [temperature]
    ]
    expected = torch.stack(coins).sum()
    torch.testing.assert_close(binary_kl_divergence(STUDENT, TEACHER, temperature), expected)


def test_binary_kl_divergence__by_hand() -> None:
    teacher, student = torch.zeros(1, 2), torch.tensor([[0.8, 0.5]]).logit()
    expected = 0.5 * torch.log(torch.tensor(0.5 / 0.8)) + 0.5 * torch.log(torch.tensor(0.5 / 0.2))
    torch.testing.assert_close(binary_kl_divergence(student, teacher, 1.0), expected)


def test_binary_kl_divergence__is_zero_at_equality_alone() -> None:
    assert binary_kl_divergence(TEACHER, TEACHER, 2.0).item() == pytest.approx(0, abs=1e-12)
    assert binary_kl_divergence(TEACHER + 1.0, TEACHER, 2.0).item() > 0.1  # no shift is free, unlike with softmax


@pytest.mark.parametrize("rule", [NOMINAL, MULTILABEL])
def test_labeled_loss__unlabeled_images_add_nothing(rule: DecisionRule) -> None:
    target = torch.eye(4, dtype=torch.float64)[:3].repeat(2, 1)
    labeled = torch.tensor([1.0, 0, 1, 0, 0, 1], dtype=torch.float64)
    logits = STUDENT.clone().requires_grad_()
    loss = labeled_loss(logits, target, labeled, rule)
    keep = labeled.bool()
    torch.testing.assert_close(loss, label_loss(STUDENT[keep], target[keep], rule).sum() / 6)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[~keep] == 0).all()
    assert (gradient[keep] != 0).any(1).all()


def test_labeled_loss__no_label_at_all_is_a_label_of_a_multilabel_set() -> None:
    loss = labeled_loss(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1), MULTILABEL)
    torch.testing.assert_close(loss, 3 * torch.log(torch.tensor(2.0)))


def test_labeled_loss__takes_costs() -> None:
    logits, target = torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])
    costs = torch.tensor([[0.0, 1.0], [8.0, 0.0]])
    loss = labeled_loss(logits, target, torch.ones(1), ORDINAL, costs)
    torch.testing.assert_close(loss, torch.log(torch.tensor(2.0)) + 4)


@pytest.mark.parametrize("rule", [NOMINAL, ORDINAL, MULTILABEL])
def test_losses__the_table_has_what_the_config_allows(rule: DecisionRule) -> None:
    defined = LOSSES if rule.exclusive else MULTILABEL_LOSSES
    assert set(defined) | {"labels"} == set(LOSSES_FOR[rule.labels.kind])


def test_distillation_loss__by_name_and_kind() -> None:
    names: tuple[Loss, ...] = ("kl", "dist")
    assert distillation_loss(names[0], NOMINAL) is kl_divergence
    assert distillation_loss(names[0], MULTILABEL) is binary_kl_divergence
    with pytest.raises(AssertionError, match="dist is refused for multilabel sets"):
        distillation_loss(names[1], MULTILABEL)
