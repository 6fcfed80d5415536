"""Metrics of a fit beside its loss: decisions against labels."""

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassStatScores

from models.decision import DecisionRule


class MacroF1(MulticlassStatScores):
    """The mean F1 of the labels that are true of some image, as ``verify.metrics.macro_f1`` has it; 0 without any.

    Labels exclude each other.
    """

    def __init__(self, num_labels: int) -> None:
        super().__init__(num_labels, average=None)

    def compute(self) -> Tensor:
        """From what all processes counted []."""
        found, false_alarms, _, missed, positives = super().compute().reshape(-1, 5).unbind(1)
        f1 = 2 * found / (2 * found + false_alarms + missed).clamp(min=1)
        present = positives > 0
        return f1[present].mean() if present.any() else f1.new_zeros(())


def decided(logits: Tensor, targets: Tensor, rule: DecisionRule) -> tuple[Tensor, Tensor]:
    """The labels said and the true ones, of logits and targets of labeled images [B, C].

    They are indices [M], or which labels apply [M, C]. Images whose votes tie have no true label and are left out.
    """
    said = rule.decide(rule.probabilities(logits.detach().float().cpu().numpy()))
    given = targets.cpu().numpy()
    told = rule.labels.has_truth(given)
    found = (torch.from_numpy(part) for part in (said[told], rule.labels.truth(given[told])))
    return next(found).to(logits.device), next(found).to(logits.device)
