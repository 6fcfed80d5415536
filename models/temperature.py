"""The temperature that makes a model's probabilities mean what they say. No torch here."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from data.config import Kind
from models.outputs import cross_entropy

BOUNDS = (0.05, 20.0)
"""Temperatures that are looked at."""


def fit_temperature(logits: NDArray[np.floating], targets: NDArray[np.floating], kind: Kind) -> float:
    """The temperature with the lowest cross-entropy (Guo et al. 2017, arXiv 1706.04599).

    Args:
        logits: [N, C].
        targets: of labeled images [N, C]: distributions, or each label's probability where ``kind`` is multilabel.
        kind: of the labels.

    Returns:
        T, by which logits are to be divided, within ``BOUNDS``.
    """
    assert len(logits) == len(targets) > 0
    scores = logits.astype(np.float64)
    result = minimize_scalar(
        lambda log_t: cross_entropy(scores / math.exp(log_t), targets, kind),
        bounds=(math.log(BOUNDS[0]), math.log(BOUNDS[1])),
        method="bounded",
    )
    return math.exp(float(result.x))
