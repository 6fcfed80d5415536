"""Recall over false alarms at every threshold, and what can be promised of it. Pure functions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from export.points.fit import truth_of
from models.decision import DecisionRule
from verify.predictions import Predictions

MOST_THRESHOLDS = 300
"""Of a curve: more than a chart can show."""

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class OperatingCurve:
    """Shares of images that a file flags, by threshold."""

    name: str
    """The label, or level."""
    test: tuple[Floats, Floats]
    """False-positive rate and recall on the test images, from the highest threshold on."""
    provable: tuple[Floats, Floats]
    """A false-positive rate, and the largest recall that can be promised with it."""
    positives: int
    """Test images of the label, or level."""
    negatives: int
    calibration: int
    """Images that the promises rest on."""


def operating_curve(predictions: Predictions, file: str, name: str, confidence: float) -> OperatingCurve | None:
    """The curve of one file for one label, or level; null where a split has no image on one of the sides.

    Args:
        predictions: of the calibration and the test split.
        confidence: of each promise by itself.
    """
    test, calibration = (predictions.split(split).one_per_group().with_truth() for split in ("test", "calibration"))
    shown, proved = (_counts(part, file, name) for part in (test, calibration))
    if shown is None or proved is None:
        return None
    hits, positives, alarms, negatives = proved
    # Clopper and Pearson, as for every threshold chosen by the order-statistic rule (export.points.fit).
    recall = np.nan_to_num(beta.ppf(1 - confidence, hits, positives - hits + 1), nan=0.0)
    fpr = np.nan_to_num(beta.ppf(confidence, alarms + 1, negatives - alarms), nan=1.0)
    return OperatingCurve(
        name=name,
        test=(shown[2] / shown[3], shown[0] / shown[1]),
        provable=(np.append(fpr, 1.0), np.append(recall, recall.max())),
        positives=shown[1],
        negatives=shown[3],
        calibration=positives + negatives,
    )


def names_of(rule: DecisionRule) -> tuple[str, ...]:
    """Labels, or levels, that can be flagged."""
    return rule.labels.names[rule.labels.kind == "ordinal" :]


def _counts(part: Predictions, file: str, name: str) -> tuple[Floats, int, Floats, int] | None:
    """Hits of so many positives and false alarms of so many negatives, by threshold, from the highest on."""
    rule = part.files[file].rule
    if not len(part):
        return None
    truth = truth_of(rule.labels, part.targets, name)
    if truth.all() or not truth.any():
        return None
    scores = rule.scores(part.probabilities(file))[:, rule.column(name)]
    thresholds = np.unique(scores)[::-1]
    if len(thresholds) > MOST_THRESHOLDS:
        thresholds = thresholds[np.linspace(0, len(thresholds) - 1, MOST_THRESHOLDS).astype(int)]
    flagged = scores[None] >= np.append(np.inf, thresholds)[:, None]
    return (
        (flagged & truth).sum(1).astype(float),
        int(truth.sum()),
        (flagged & ~truth).sum(1).astype(float),
        int((~truth).sum()),
    )
