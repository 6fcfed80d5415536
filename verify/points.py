"""Rates of operating points on the test split. Pure functions."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from export.points.fit import tells_nothing, truth_of
from models.decision import DecisionRule, Floats, Point
from verify.certificate import PointFacts
from verify.evidence import Verdict
from verify.statistics import Proportion


def point_facts(
    rule: DecisionRule,
    probabilities: NDArray[np.float32],
    targets: Floats,
    confidence: float,
    prevalence: Mapping[str, float],
) -> tuple[PointFacts, ...]:
    """Every operating point of a file's rule, on independent test images with a truth.

    Args:
        probabilities: that it gives [N, C].
        targets: of the images [N, C].
        confidence: of the intervals, and of each bound that contradicts a promise.
        prevalence: by label or level, its share where the model will be used.
    """
    flags = rule.flags(probabilities)
    return tuple(
        _facts(point, truth_of(rule.labels, targets, point.name), flags[:, index], confidence, prevalence)
        for index, point in enumerate(rule.points)
    )


def _facts(
    point: Point,
    truth: NDArray[np.bool_],
    flagged: NDArray[np.bool_],
    confidence: float,
    prevalence: Mapping[str, float],
) -> PointFacts:
    recall, fpr = (
        Proportion(int(flagged[among].sum()), int(among.sum())) if among.any() else None for among in (truth, ~truth)
    )
    share = prevalence.get(point.name, float(truth.mean()) if len(truth) else 0.0)
    hits, alarms = ((found.rate if found else 0.0) * part for found, part in ((recall, share), (fpr, 1 - share)))
    return PointFacts(
        name=point.name,
        threshold=point.threshold,
        promised_recall=point.recall,
        promised_fpr=point.fpr,
        confidence=point.confidence,
        recall=recall.with_interval(confidence) if recall else None,
        fpr=fpr.with_interval(confidence) if fpr else None,
        prevalence=share,
        flags_per_10000=10_000 * (hits + alarms),
        precision=hits / (hits + alarms) if hits + alarms else None,
        useless=bool(recall and fpr and tells_nothing(recall.rate, fpr.rate)),
        verdict=_verdict(point, recall, fpr, confidence),
    )


def _verdict(point: Point, recall: Proportion | None, fpr: Proportion | None, confidence: float) -> Verdict:
    missed = point.recall is not None and recall is not None and recall.upper(confidence) < point.recall
    alarmed = point.fpr is not None and fpr is not None and fpr.lower(confidence) > point.fpr
    if missed or alarmed:
        return "FAIL"
    untested = (point.recall is not None and recall is None) or (point.fpr is not None and fpr is None)
    return "INCONCLUSIVE" if untested else "PASS"
