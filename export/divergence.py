"""Distances between what two files, or two runtimes, say of the same images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.decision import DecisionRule


@dataclass(frozen=True, kw_only=True)
class LogitDistance:
    """Difference of logits, which shows what probabilities hide where they are near 0 and 1."""

    largest: float
    """Of any logit, in absolute value."""
    spread: float
    """Standard deviation of the logits that are compared with."""

    @staticmethod
    def of(ours: NDArray[np.float32], theirs: NDArray[np.float32], rule: DecisionRule) -> "LogitDistance":
        """Compare logits [N, C]."""
        left, right = ours.astype(np.float64), theirs.astype(np.float64)
        if rule.exclusive:
            # Softmax takes no notice of a number that is added to all logits of an image: it must not count as spread.
            left, right = (logits - logits.mean(1, keepdims=True) for logits in (left, right))
        return LogitDistance(largest=float(np.abs(left - right).max()), spread=float(right.std()))

    def within(self, relative: float) -> bool:
        """True where it is at most this many spreads; false where it is not a number."""
        return self.largest <= relative * self.spread


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """Distance from fp32 over ``n`` images."""

    n: int
    flips: int
    """Images on which something else is decided."""
    flip_rate: float
    largest: float
    """Difference of a probability."""
    kl: float
    """Mean divergence in nats."""

    @staticmethod
    def of(
        ours: NDArray[np.float32], theirs: NDArray[np.float32], rule: DecisionRule, own: DecisionRule
    ) -> "Divergence":
        """Compare logits [n, C] with those of fp32, each at its own thresholds: ``rule`` is that of fp32."""
        left = own.probabilities(ours)
        right = rule.probabilities(theirs)
        flips = int((~rule.same(own.decide(left), rule.decide(right))).sum())
        return Divergence(
            n=len(ours),
            flips=flips,
            flip_rate=flips / len(ours),
            largest=float(np.abs(left - right).max()),
            kl=rule.divergence(ours, theirs),
        )
