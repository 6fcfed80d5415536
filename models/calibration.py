"""Temperature scaling: one number that makes a model's probabilities mean what they say (Guo et al. 2017)."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from models.classifier import Classifier
from models.decision import DecisionRule
from run.files import Json

BOUNDS = (0.05, 20.0)
"""Smallest and largest temperature that is looked at."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A fitted temperature, and what it did to the cross-entropy on the images it was fitted on."""

    n: int
    """Labeled images."""
    temperature: float
    nll_before: float
    """Cross-entropy in nats."""
    nll_after: float

    def to_json(self) -> dict[str, Json]:
        """As ``metrics.json`` has it."""
        return asdict(self)


def fit_temperature(logits: NDArray[np.floating], targets: NDArray[np.floating], rule: DecisionRule) -> float:
    """The temperature with the lowest cross-entropy (arXiv 1706.04599).

    Args:
        logits: [N, C].
        targets: of labeled images [N, C]: distributions, or each label's probability in a multilabel set.
        rule: of the label set.

    Returns:
        T, by which logits are to be divided, within ``BOUNDS``.
    """
    assert len(logits) == len(targets) > 0
    scores = logits.astype(np.float64)
    # Over the logarithm: temperatures are ratios, and half is as far from 1 as double.
    result = minimize_scalar(
        lambda log_t: rule.cross_entropy(scores / math.exp(log_t), targets),
        bounds=(math.log(BOUNDS[0]), math.log(BOUNDS[1])),
        method="bounded",
    )
    return math.exp(float(result.x))


def calibrate(classifier: Classifier, logits: NDArray[np.floating], targets: NDArray[np.floating]) -> Calibration:
    """Fit the temperature and divide the head by it in place, so that plain softmax or sigmoid is calibrated anywhere.

    Args:
        classifier: its last layers are changed.
        logits: what it gives on the labeled images of the calibration split [N, C].
        targets: their targets [N, C].
    """
    rule = DecisionRule.of(classifier.labels)
    temperature = fit_temperature(logits, targets, rule)
    # All of them: where a model takes the mean of two heads, both have to be divided.
    with torch.no_grad():
        for layer in classifier.heads:
            for parameter in layer.parameters():
                parameter.div_(temperature)
    return Calibration(
        n=len(logits),
        temperature=temperature,
        nll_before=rule.cross_entropy(logits, targets),
        nll_after=rule.cross_entropy(logits / temperature, targets),
    )
