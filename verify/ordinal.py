"""Metrics of ordered labels: how far off, and on which side. Pure functions of label indices [N]."""

import numpy as np
from sklearn.metrics import cohen_kappa_score

from models.outputs import Decisions
from run.files import Json
from verify.statistics import Proportion, proportion_json

STEPS = (1, 2)
"""Distances that under-calls and over-calls are counted from."""


def ordinal_facts(truth: Decisions, decided: Decisions, num_labels: int, confidence: float) -> dict[str, Json]:
    """Everything that is said of ordered labels.

    Args:
        truth: label indices, ascending in severity [N].
        decided: what the model said [N].
        num_labels: C.
        confidence: of the intervals.

    Returns:
        ``quadratic_kappa``, ``mean_absolute_error`` in steps, ``under_call`` and ``over_call``: by "1" and "2", the
        share of images judged at least so many steps too mild, or too severe.
    """
    steps = [step for step in STEPS if step < num_labels]
    return {
        "quadratic_kappa": quadratic_kappa(truth, decided, num_labels),
        "mean_absolute_error": float(np.abs(decided - truth).mean()),
        "under_call": {str(step): proportion_json(under_call(truth, decided, step), confidence) for step in steps},
        "over_call": {str(step): proportion_json(under_call(decided, truth, step), confidence) for step in steps},
    }


def under_call(truth: Decisions, decided: Decisions, steps: int) -> Proportion:
    """On how many images the truth is at least so many steps more severe than what was decided."""
    return Proportion(int((truth - decided >= steps).sum()), len(truth))


def quadratic_kappa(truth: Decisions, decided: Decisions, num_labels: int) -> float | None:
    """Agreement beyond chance, disagreements weighed by their squared distance (Cohen 1968).

    Null where truth and model only ever say one label, the same: then chance explains everything.
    """
    if (truth == decided).all() and len(np.unique(truth)) == 1:
        return None
    return float(cohen_kappa_score(truth, decided, labels=range(num_labels), weights="quadratic"))
