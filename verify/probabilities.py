"""Quality of probabilities: cross-entropy against the prior's, and calibration against chance. Pure functions."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, log_softmax
from scipy.stats import binom

from models.decision import DecisionRule, Decisions
from verify.certificate import Bin, Reliability
from verify.evidence import Noise

MOST_LOSS = 10.0
"""Nats that one image may cost: a mean has exact bounds only where no single value can be any size."""

BINS = 15
"""Of the calibration error, with as many images each."""

DRAWS = 2000
"""Of the chance that the calibration error is compared with."""

Floats = NDArray[np.floating]


def excess_losses(
    rule: DecisionRule, logits: Floats, targets: Floats
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Cross-entropy of each image [N] minus that of the targets' own frequencies, the best of all constant answers.

    Args:
        rule: of the label set; in a multilabel set, an image's loss is the mean over its labels.
        logits: [N, C].
        targets: [N, C].

    Returns:
        The differences, and how far below and above 0 any could lie.
    """
    prior = targets.mean(0, dtype=np.float64)
    logits = np.nan_to_num(logits.astype(np.float64), nan=-1e9)
    with np.errstate(divide="ignore"):
        if rule.exclusive:
            ours = -(targets * np.maximum(log_softmax(logits, axis=1), -MOST_LOSS)).sum(1)
            constant = -np.maximum(np.log(prior), -MOST_LOSS)
            theirs = targets @ constant
        else:
            ours = _binary_losses(targets, log_expit(logits), log_expit(-logits))
            constant = np.maximum(-np.log(prior), -np.log1p(-prior)).clip(max=MOST_LOSS)
            theirs = _binary_losses(targets, np.log(prior)[None], np.log1p(-prior)[None])
    return ours - theirs, (float(constant.max()), MOST_LOSS)


def _binary_losses(targets: Floats, log_yes: Floats, log_no: Floats) -> NDArray[np.float64]:
    log_yes, log_no = (np.maximum(one, -MOST_LOSS) for one in (log_yes, log_no))
    return np.asarray(-(targets * log_yes + (1 - targets) * log_no).mean(1), np.float64)


def calibration_noise(
    rule: DecisionRule, logits: Floats, truth: Decisions, confidence: float
) -> dict[str | None, Noise]:
    """Calibration error, and the largest that a calibrated model would show by chance.

    Args:
        logits: [N, C].
        truth: [N] or [N, C].
        confidence: with which a calibrated model stays below it.

    Returns:
        One of the likeliest label's probability, under null; in a multilabel set one of each label.
    """
    return {about: _noise(*told, confidence) for about, told in _told(rule, logits, truth).items()}


def reliability(rule: DecisionRule, logits: Floats, truth: Decisions, confidence: float) -> tuple[Reliability, ...]:
    """The bins of the calibration error; arguments as for ``calibration_noise``, ``confidence`` of each bin's band."""
    return tuple(
        Reliability(about=about, bins=_bins(*told, confidence)) for about, told in _told(rule, logits, truth).items()
    )


def _told(
    rule: DecisionRule, logits: Floats, truth: Decisions
) -> Mapping[str | None, tuple[Floats, NDArray[np.bool_]]]:
    """Probabilities [N] and whether what they are given for is true, of the likeliest label or of each of a set."""
    probabilities = np.nan_to_num(rule.probabilities(logits.astype(np.float32)), nan=0.0)
    if not rule.exclusive:
        columns = zip(rule.labels.names, probabilities.T, truth.T, strict=True)
        return {name: (said, true) for name, said, true in columns}
    return {None: (probabilities.max(1), np.asarray(probabilities.argmax(1) == truth))}


def _counts(said: Floats, true: NDArray[np.bool_]) -> tuple[NDArray[np.intp], Floats, NDArray[np.intp]]:
    """Bins of as many images each: their sizes, the sums of their probabilities, and how often they were right."""
    bins = [part for part in np.array_split(np.argsort(said, kind="stable"), BINS) if len(part)]
    sizes = np.array([len(part) for part in bins], np.intp)
    expected = np.array([said[part].sum(dtype=np.float64) for part in bins])
    return sizes, expected, np.array([true[part].sum() for part in bins], np.intp)


def _bins(said: Floats, true: NDArray[np.bool_], confidence: float) -> tuple[Bin, ...]:
    sizes, expected, observed = _counts(said, true)
    means = np.clip(expected / sizes, 0, 1)
    sides = (binom.ppf(side, sizes, means) / sizes for side in ((1 - confidence) / 2, (1 + confidence) / 2))
    columns = (sizes.tolist(), means.tolist(), (observed / sizes).tolist(), *(side.tolist() for side in sides))
    return tuple(Bin(n=n, said=p, right=q, lower=low, upper=high) for n, p, q, low, high in zip(*columns, strict=True))


def _noise(said: Floats, true: NDArray[np.bool_], confidence: float) -> Noise:
    """Expected calibration error in bins of as many images each, and its quantile under perfect calibration."""
    sizes, expected, observed = _counts(said, true)
    # Draws of a binomial with the bin's mean spread at least as far as draws with each image's own probability.
    drawn = np.random.default_rng(0).binomial(sizes, np.clip(expected / sizes, 0, 1), (DRAWS, len(sizes)))
    by_chance = np.abs(drawn - expected).sum(1) / len(said)
    band = float(np.quantile(by_chance, confidence, method="higher"))
    return Noise(n=len(said), error=float(np.abs(observed - expected).sum() / len(said)), band=band)
