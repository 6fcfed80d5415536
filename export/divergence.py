"""The distance of a smaller file's decisions and probabilities from those of its fp32 file."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.decision import DecisionRule


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
    def of(ours: NDArray[np.float32], theirs: NDArray[np.float32], rule: DecisionRule) -> "Divergence":
        """Compare logits [n, C] with those of fp32."""
        left = rule.probabilities(ours)
        right = rule.probabilities(theirs)
        flips = int((~rule.same(rule.decide(left), rule.decide(right))).sum())
        return Divergence(
            n=len(ours),
            flips=flips,
            flip_rate=flips / len(ours),
            largest=float(np.abs(left - right).max()),
            kl=rule.divergence(ours, theirs),
        )
