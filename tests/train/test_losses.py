import numpy as np
import pytest
import torch
from torch.nn import functional

from data.labels import LabelSet
from models.decision import DecisionRule
from tests.support import FOUR, TWO
from train.losses import (
    binary_cross_entropy,
    class_weights,
    expected_cost,
    label_loss,
    probabilities,
    share_decided_alike,
    soft_cross_entropy,
)

NAMES = ("a", "b", "c")
ORDINAL = DecisionRule.of(LabelSet(NAMES, "ordinal"))
NOMINAL = DecisionRule.of(LabelSet(NAMES, "nominal"))
MULTILABEL = DecisionRule.of(LabelSet(NAMES, "multilabel"))

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(6, 3, generator=GENERATOR, dtype=torch.float64) * 3
COSTS = torch.tensor([[0.0, 1.0, 1.0], [2.0, 0.0, 1.0], [9.0, 4.0, 0.0]], dtype=torch.float64)
"""Under-calls cost more than over-calls."""


def test_soft_cross_entropy__by_hand() -> None:
    logits = torch.log(torch.tensor([[0.2, 0.8]]))
    target, weights = torch.tensor([[0.25, 0.75]]), torch.tensor([2.0, 4.0])
    expected = -(torch.log(torch.tensor([0.2, 0.8])) * target[0] * weights).sum()
    torch.testing.assert_close(soft_cross_entropy(logits, target, weights), expected[None])


def test_binary_cross_entropy__is_torchs_summed_over_labels() -> None:
    targets = torch.rand(6, 3, generator=GENERATOR, dtype=torch.float64)
    expected = functional.binary_cross_entropy_with_logits(LOGITS, targets, reduction="none").sum(1)
    torch.testing.assert_close(binary_cross_entropy(LOGITS, targets), expected)


def test_binary_cross_entropy__weighs_absence_and_presence_apart() -> None:
    logits = torch.tensor([[0.2, 0.6]]).logit()
    weights = torch.tensor([[2.0, 3.0], [5.0, 7.0]])  # absence, presence
    log = torch.log(torch.tensor([0.2, 0.8, 0.6, 0.4]))
    given = [
        binary_cross_entropy(logits, torch.tensor([target]), weights).item() for target in ([1.0, 0.0], [0.0, 1.0])
    ]
    assert given == pytest.approx([-(5 * log[0] + 3 * log[3]).item(), -(2 * log[1] + 7 * log[2]).item()])


def test_expected_cost__by_hand() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64))
    sure, torn = torch.eye(3, dtype=torch.float64)[[2]], torch.tensor([[0.5, 0.0, 0.5]], dtype=torch.float64)
    assert expected_cost(logits, sure, COSTS).item() == pytest.approx(0.5 * 9 + 0.3 * 4)
    assert expected_cost(logits, torn, COSTS).item() == pytest.approx(0.5 * (0.3 + 0.2) + 0.5 * (4.5 + 1.2))


def test_expected_cost__is_free_where_the_model_is_right() -> None:
    sure = 50 * torch.eye(3, dtype=torch.float64)
    assert expected_cost(sure, torch.eye(3, dtype=torch.float64), COSTS).max().item() < 1e-12


def test_label_loss__costs_push_towards_the_severe_side() -> None:
    """With annotators in two minds, the best answer without costs is theirs; with costs it leans to the severe."""
    target, logits = torch.tensor([[0.5, 0.5]]), torch.zeros(1, 2, requires_grad=True)
    costs = torch.tensor([[0.0, 1.0], [5.0, 0.0]])
    (plain,) = torch.autograd.grad(label_loss(logits, target, ORDINAL).sum(), logits)
    (costly,) = torch.autograd.grad(label_loss(logits, target, ORDINAL, costs=costs).sum(), logits)
    assert plain.abs().max().item() < 1e-6
    assert costly[0, 1].item() < -0.1 < 0.1 < costly[0, 0].item()


def test_label_loss__parts() -> None:
    targets = torch.eye(3, dtype=torch.float64).repeat(2, 1)
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    expected = soft_cross_entropy(LOGITS, targets, weights) + expected_cost(LOGITS, targets, COSTS)
    torch.testing.assert_close(label_loss(LOGITS, targets, ORDINAL, weights=weights, costs=COSTS), expected)
    torch.testing.assert_close(label_loss(LOGITS, targets, NOMINAL), soft_cross_entropy(LOGITS, targets))
    torch.testing.assert_close(label_loss(LOGITS, targets, MULTILABEL), binary_cross_entropy(LOGITS, targets))


@pytest.mark.parametrize("rule", [NOMINAL, MULTILABEL])
def test_label_loss__is_least_at_the_targets(rule: DecisionRule) -> None:
    targets = torch.tensor([[0.2, 0.7, 0.1]], dtype=torch.float64)
    best = targets.log() if rule.exclusive else targets.logit()
    lowest = label_loss(best, targets, rule).item()
    for seed in range(20):
        step = 0.1 * torch.randn(1, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert label_loss(best + step, targets, rule).item() > lowest


def test_share_decided_alike__first_choices_or_whole_sets() -> None:
    left = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8]])
    right = torch.tensor([[0.9, 0.1], [0.9, 0.6], [0.6, 0.4]])
    assert share_decided_alike(left, right, NOMINAL).item() == pytest.approx(2 / 3)
    sets = LabelSet(("a", "b"), "multilabel")
    assert share_decided_alike(left, right, DecisionRule.of(sets)).item() == pytest.approx(1 / 3)
    assert share_decided_alike(left, right, DecisionRule(sets, (0.7, 0.7))).item() == pytest.approx(1 / 3)
    assert share_decided_alike(left, right, DecisionRule(sets, (0.1, 0.9))).item() == 1


def test_probabilities__softmax_or_a_sigmoid_each() -> None:
    torch.testing.assert_close(probabilities(LOGITS, ORDINAL), LOGITS.softmax(1))
    torch.testing.assert_close(probabilities(LOGITS, MULTILABEL), LOGITS.sigmoid())


TARGETS = np.eye(4, dtype=np.float32)[[0] * 8 + [1] * 4 + [2] * 2 + [3] * 2]


@pytest.mark.parametrize(("weighting", "power"), [("none", 0.0), ("sqrt", 0.5), ("balanced", 1.0)])
def test_class_weights__powers_of_inverse_frequency_with_mean_one(weighting: str, power: float) -> None:
    weights = class_weights(TARGETS, weighting, FOUR).numpy()
    assert weights.dtype == np.float32
    frequency = np.array([8, 4, 2, 2]) / 16
    assert weights / weights[0] == pytest.approx((frequency[0] / frequency) ** power)
    assert (weights * frequency).sum() == pytest.approx(1.0)


def test_class_weights__soft_targets_count_by_share() -> None:
    weights = class_weights(np.array([[0.75, 0.25]], np.float32), "balanced", TWO)
    assert weights.tolist() == pytest.approx([2 / 3, 2.0])


def test_class_weights__each_label_of_a_multilabel_set_by_itself() -> None:
    targets = np.array([[1, 1], [0, 1], [0, 1], [0, 1]], np.float32)
    labels = LabelSet(("rare", "always"), "multilabel")
    weights = class_weights(targets, "balanced", labels).numpy()
    assert weights[:, 0].tolist() == pytest.approx([0.5 / 0.75, 0.5 / 0.25])  # absence, presence
    assert weights[:, 1].tolist() == [0, 1], "what never occurs weighs nothing"
    assert class_weights(targets, "none", labels).tolist() == [[1, 0], [1, 1]]
