"""Temperature scaling: one number that makes a model's probabilities mean what they say."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from models.classifier import Classifier
from run.files import Json

BOUNDS = (0.05, 20.0)
"""Temperatures that are looked at."""


def fit_temperature(logits: NDArray[np.floating], targets: NDArray[np.floating]) -> float:
    """The temperature with the lowest cross-entropy (Guo et al. 2017, arXiv 1706.04599).

    Args:
        logits: [N, C].
        targets: distributions [N, C].

    Returns:
        T, by which logits are to be divided, within ``BOUNDS``.
    """
    assert len(logits) == len(targets) > 0
    scores = logits.astype(np.float64)
    result = minimize_scalar(
        lambda log_t: cross_entropy(scores / math.exp(log_t), targets),
        bounds=(math.log(BOUNDS[0]), math.log(BOUNDS[1])),
        method="bounded",
    )
    return math.exp(float(result.x))


def cross_entropy(logits: NDArray[np.floating], targets: NDArray[np.floating]) -> float:
    """Mean cross-entropy in nats of softmax(logits) [N, C] against distributions [N, C]."""
    return float(-(targets * log_softmax(logits, axis=1)).sum(1).mean())


def calibrate(classifier: Classifier, logits: NDArray[np.floating], targets: NDArray[np.floating]) -> dict[str, Json]:
    """Fit the temperature and divide the head by it, so that every runtime's plain softmax is calibrated.

    Args:
        classifier: its head is changed in place.
        logits: what it gives on the calibration split [N, C].
        targets: distributions [N, C].

    Returns:
        ``n``, ``temperature``, and the cross-entropy in nats before and after.
    """
    temperature = fit_temperature(logits, targets)
    with torch.no_grad():
        for parameter in classifier.head.parameters():
            parameter.div_(temperature)
    return {
        "n": len(logits),
        "temperature": temperature,
        "nll_before": cross_entropy(logits, targets),
        "nll_after": cross_entropy(logits / temperature, targets),
    }
