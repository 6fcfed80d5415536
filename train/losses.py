"""Losses against labels, pure functions of logits with one value per image, and the weights of the labels in them."""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from data.labels import LabelSet
from models.decision import DecisionRule

Costs = list[list[float]]
"""``labels.costs``: [C][C]."""


def label_loss(
    logits: Tensor, targets: Tensor, rule: DecisionRule, *, weights: Tensor | None = None, costs: Tensor | None = None
) -> Tensor:
    """The loss to minimize on labeled images [B], in nats, of logits and targets [B, C].

    Args:
        rule: says whether labels exclude each other.
        weights: as ``class_weights`` gives them; null weighs all alike.
        costs: [C, C], see ``expected_cost``; null adds none.
    """
    if not rule.exclusive:
        assert costs is None, "labels.costs is refused for multilabel sets"
        return binary_cross_entropy(logits, targets, weights)
    loss = soft_cross_entropy(logits, targets, weights)
    return loss if costs is None else loss + expected_cost(logits, targets, costs)


def soft_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """-Σ w_i t_i log p_i [B] of softmax(logits) [B, C] against distributions [B, C], with a weight per label [C]."""
    return functional.cross_entropy(logits, targets, weight=weights, reduction="none")


def binary_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """-Σ (w_1i t_i log p_i + w_0i (1 - t_i) log(1 - p_i)) [B], with p the sigmoid of logits [B, C], t targets [B, C].

    The weights [2, C] are of absence and of presence; null is 1.
    """
    absent, present = (1 - targets, targets) if weights is None else (weights[0] * (1 - targets), weights[1] * targets)
    return -(present * functional.logsigmoid(logits) + absent * functional.logsigmoid(-logits)).sum(1)


def expected_cost(logits: Tensor, targets: Tensor, costs: Tensor) -> Tensor:
    """Σ_i t_i Σ_j cost_ij p_j [B]: the mean cost of saying j, as softmax(logits [B, C]) would, where i is true."""
    return ((targets @ costs) * logits.softmax(1)).sum(1)


def probabilities(logits: Tensor, rule: DecisionRule) -> Tensor:
    """``DecisionRule.probabilities`` on the tensor's device [B, C]."""
    return logits.softmax(1) if rule.exclusive else logits.sigmoid()


def share_decided_alike(left: Tensor, right: Tensor, rule: DecisionRule) -> Tensor:
    """The share of images for which two tensors of probabilities [B, C] lead to the same decision."""
    if rule.exclusive:
        return (left.argmax(1) == right.argmax(1)).float().mean()
    thresholds = _thresholds(rule, left.device)
    return ((left >= thresholds) == (right >= thresholds)).all(1).float().mean()


@cache
def _thresholds(rule: DecisionRule, device: torch.device) -> Tensor:
    # Kept on the device: to copy them there in every training step would make the host wait for a GPU.
    return torch.tensor(rule.thresholds, device=device)


def class_weights(targets: NDArray[np.float32], weighting: str, labels: LabelSet) -> Tensor:
    """Weight per label, scaled so that the mean weight over the training images is 1.

    Each label of a multilabel set is a problem of its own with two classes, absent and present.

    Args:
        targets: of the labeled training images [N, C].
        weighting: ``teacher.class_weighting``.

    Returns:
        [C]; for multilabel sets [2, C], of absence and of presence.
    """
    present = targets.mean(0)
    assert (present > 0).all(), f"prepare refuses a label without training images: {labels.names}"
    frequency = present if labels.exclusive else np.stack([1 - present, present])
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[weighting]
    # Absence may never occur in a multilabel set: its weight is then 0, and the floor keeps the power finite.
    weights = np.maximum(frequency, np.finfo(np.float32).tiny) ** -power
    return torch.from_numpy((weights * (frequency > 0) / (weights * frequency).sum(0)).astype(np.float32))
