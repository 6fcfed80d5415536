"""Temperature scaling: one number that makes a model's probabilities mean what they say (Guo et al. 2017)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax

from models.classifier import Classifier
from models.decision import DecisionRule, Floats

BOUNDS = (0.05, 20.0)
"""Smallest and largest temperature that is looked at; one at either end is no optimum, and is not taken."""

PRIOR = math.log(2)
"""Standard deviation of log T before any image is seen: temperatures below 1/4 or above 4 are rare."""

FOLDS = 5
"""Parts of the images, each left out once, to see whether a temperature does better."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A fitted temperature, and what it did to the cross-entropy on the images it was fitted on."""

    n: int
    """Labeled images."""
    temperature: float
    """1 where none fits best, or none does better on images left out of the fit."""
    uncalibrated: str | None
    """Reason why it was left at 1; null where one was fitted."""
    nll_before: float
    """Cross-entropy in nats."""
    nll_after: float


def fit_temperature(logits: NDArray[np.floating], targets: NDArray[np.floating], rule: DecisionRule) -> float | None:
    """The temperature with the lowest cross-entropy (arXiv 1706.04599), where the images can tell one.

    The cross-entropy is convex in 1/T. Where it still falls at an end of ``BOUNDS``, the search would end there, and
    what it finds says how far it looked and nothing of the model: on images that are all right, it falls for ever.
    Where nearly all are right, an optimum is there and hangs on the few that are not. So ``PRIOR`` holds it near 1, and
    it is taken only where temperatures fitted without a fold of the images do better on that fold than 1 does.

    Args:
        logits: [N, C].
        targets: of labeled images [N, C]: distributions, or each label's probability in a multilabel set.

    Returns:
        T, by which logits are to be divided, within ``BOUNDS``; null where none fits best, or none does better.
    """
    assert len(logits) == len(targets) > 0
    scores = logits.astype(np.float64)
    if _is_at_edge(scores, targets, rule) or not _does_better(scores, targets, rule):
        return None
    return _likeliest(scores, targets, rule)


def why_uncalibrated(logits: NDArray[np.floating], targets: NDArray[np.floating], rule: DecisionRule) -> str:
    """Reason why ``fit_temperature`` finds none, as the end of a sentence about the model."""
    scores = logits.astype(np.float64)
    told = rule.labels.has_truth(targets)  # where votes tie, no label is right
    right = int(rule.same(rule.decide(rule.probabilities(logits[told])), rule.labels.truth(targets[told])).sum())
    count = int(told.sum())
    images = f"all {count:,}" if right == count > 1 else "the one" if right == count else f"{right:,} of {count:,}"
    known = f"is right on {images} validation {'image' if count == 1 else 'images'}" if count else "has only tied votes"
    if _is_at_edge(scores, targets, rule):
        return f"{known}, and no temperature fits best there"
    fitted = _likeliest(scores, targets, rule)
    return f"{known}; a temperature of {fitted:.2g} fits best there, and does no better on images left out of its fit"


def _likeliest(scores: Floats, targets: Floats, rule: DecisionRule) -> float:
    """The temperature that is likeliest after these images, if ``PRIOR`` was believed before."""
    least, most = BOUNDS
    # Over the logarithm: temperatures are ratios, and half is as far from 1 as double.
    result = minimize_scalar(
        lambda log_t: len(scores) * rule.cross_entropy(scores / math.exp(log_t), targets) + (log_t / PRIOR) ** 2 / 2,
        bounds=(math.log(least), math.log(most)),
        method="bounded",
    )
    return math.exp(float(result.x))


def _is_at_edge(scores: Floats, targets: Floats, rule: DecisionRule) -> bool:
    least, most = BOUNDS
    return not _slope(scores, targets, rule, 1 / most) < 0 < _slope(scores, targets, rule, 1 / least)


def _does_better(scores: Floats, targets: Floats, rule: DecisionRule) -> bool:
    """True where images that a temperature was not fitted on have a lower cross-entropy with it than without."""
    count = min(FOLDS, len(scores))
    if count < 2:
        return False
    fold = np.random.default_rng(0).permutation(len(scores)) % count
    kept, changed = 0.0, 0.0
    for out in (fold == number for number in range(count)):
        temperature = _likeliest(scores[~out], targets[~out], rule)
        kept += out.sum() * rule.cross_entropy(scores[out], targets[out])
        changed += out.sum() * rule.cross_entropy(scores[out] / temperature, targets[out])
    return bool(changed < kept)


def _slope(logits: Floats, targets: Floats, rule: DecisionRule, inverse: float) -> float:
    """Derivative of the mean cross-entropy by 1/T, at 1/T."""
    scaled = inverse * logits
    if not rule.exclusive:
        return float(((expit(scaled) - targets) * logits).sum(1).mean())
    # Distances from what the target expects: where an image is right by far, rounding must not make a slope of its own.
    distances = logits - (targets * logits).sum(1, keepdims=True)
    return float((softmax(scaled, axis=1) * distances).sum(1).mean())


def calibrate(classifier: Classifier, logits: NDArray[np.floating], targets: NDArray[np.floating]) -> Calibration:
    """Fit the temperature and divide the head by it in place, so that plain softmax or sigmoid is calibrated anywhere.

    Where no temperature is found, the head is left as it is. Logits and targets [N, C] are of the labeled images of the
    validation split.
    """
    rule = DecisionRule.of(classifier.labels)
    fitted = fit_temperature(logits, targets, rule)
    temperature = 1.0 if fitted is None else fitted
    # All of them: where a model takes the mean of two heads, both have to be divided.
    with torch.no_grad():
        for layer in classifier.heads:
            for parameter in layer.parameters():
                parameter.div_(temperature)
    return Calibration(
        n=len(logits),
        temperature=temperature,
        uncalibrated=why_uncalibrated(logits, targets, rule) if fitted is None else None,
        nll_before=rule.cross_entropy(logits, targets),
        nll_after=rule.cross_entropy(logits / temperature, targets),
    )
