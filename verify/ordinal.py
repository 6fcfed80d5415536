"""Metrics of ordered labels: how far off, and on which side. Pure functions of label indices [N]."""

import numpy as np

from models.decision import Decisions
from verify.certificate import OrdinalFacts
from verify.statistics import Proportion

STEPS = (1, 2)
"""Distances that under-calls and over-calls are counted from."""


def ordinal_facts(truth: Decisions, decided: Decisions, num_labels: int, confidence: float) -> OrdinalFacts:
    """Everything that is said of ordered labels.

    Args:
        truth: label indices, ascending in severity [N].
        decided: what the model said [N].
    """
    steps = [step for step in STEPS if step < num_labels]
    return OrdinalFacts(
        quadratic_kappa=quadratic_kappa(truth, decided),
        mean_absolute_error=float(np.abs(decided - truth).mean()),
        under_call={step: under_call(truth, decided, step).with_interval(confidence) for step in steps},
        over_call={step: under_call(decided, truth, step).with_interval(confidence) for step in steps},
    )


def under_call(truth: Decisions, decided: Decisions, steps: int) -> Proportion:
    """Images on which the truth is at least so many steps more severe than what was decided."""
    return Proportion(int((truth - decided >= steps).sum()), len(truth))


def quadratic_kappa(truth: Decisions, decided: Decisions) -> float | None:
    """Agreement beyond chance, disagreements weighed by their squared distance (Cohen 1968).

    Null where truth and model only ever say one label, the same: then chance explains everything.
    """
    # Mean squared distance of independent draws: E(X - Y)² = var X + var Y + (E X - E Y)².
    chance = truth.var() + decided.var() + (truth.mean() - decided.mean()) ** 2
    return float(1 - ((truth - decided) ** 2).mean() / chance) if chance else None
