"""A published metric measured again: its value here, with an interval. Pure functions of decisions."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.decision import DecisionRule, Decisions
from verify.metrics import agreement, as_sets
from verify.statistics import Proportion

RESAMPLES = 400
"""Of the bootstrap, for metrics that are no share of images (Efron 1979)."""

Sets = NDArray[np.bool_]


@dataclass(frozen=True)
class Measured:
    """A metric on the images at hand."""

    value: float
    lower: float
    upper: float
    n: int
    """Images that it is about."""


def measure_again(metric: str, rule: DecisionRule, truth: Decisions, said: Decisions, confidence: float) -> Measured:
    """One metric of decisions.

    Args:
        metric: ``accuracy``; ``macro``, ``micro`` or ``weighted`` with ``f1``, ``precision`` or ``recall``; or
            ``recall:LABEL``, ``precision:LABEL``, ``binary:LABEL``.
        truth: true labels [N] or [N, C].
        said: decisions of the model, the same shape.
        confidence: of the interval, which is exact for shares of images and a bootstrap's else.
    """
    true, found = (as_sets(rule, decisions) for decisions in (truth, said))
    if metric == "accuracy":
        share = agreement(rule, truth, said)
    elif ":" in metric:
        share = _of_label(metric, rule, true, found)
    else:
        return _bootstrapped(metric, true, found, confidence)
    return Measured(share.rate, *share.interval(confidence), share.n)


def _of_label(metric: str, rule: DecisionRule, true: Sets, found: Sets) -> Proportion:
    kind, _, label = metric.partition(":")
    column = rule.labels.names.index(label)
    inside = found[:, column] if kind == "precision" else true[:, column]
    right = (true == found)[:, 0] if kind == "binary" else (true & found)[:, column]
    return Proportion(int(right[inside].sum()), int(inside.sum()))


def _bootstrapped(metric: str, true: Sets, found: Sets, confidence: float) -> Measured:
    average, kind = re.split(r"\s+", metric)
    count = len(true)
    generator = np.random.default_rng(0)
    draws = (np.bincount(generator.integers(0, count, count), minlength=count) for _ in range(RESAMPLES))
    values = [_average(average, kind, true, found, weights) for weights in draws]
    risk = 50 * (1 - confidence)
    lower, upper = np.percentile(values, [risk, 100 - risk])
    return Measured(_average(average, kind, true, found, np.ones(count, int)), float(lower), float(upper), count)


def _average(average: str, kind: str, true: Sets, found: Sets, weights: NDArray[np.integer]) -> float:
    """The mean over labels that the images have, each image counted by its weight; an undefined one counts as 0."""
    hits, positives, said = (weights @ sets.astype(np.int64) for sets in (true & found, true, found))
    if average == "micro":
        hits, positives, said = (np.atleast_1d(counts.sum()) for counts in (hits, positives, said))
    below = {"f1": (positives + said) / 2, "precision": said, "recall": positives}[kind]
    scores = np.divide(hits, below, out=np.zeros(len(hits)), where=below > 0)
    there = positives > 0
    shares = positives[there] if average == "weighted" else np.ones(there.sum())
    return float(np.average(scores[there], weights=shares)) if there.any() else 0.0
