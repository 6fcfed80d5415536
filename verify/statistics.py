"""Exact bounds and tests. Pure functions."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom, binomtest, hypergeom, norm

from data.bounds import upper_bound
from verify.certificate import Gain, Rate


@dataclass(frozen=True)
class Proportion:
    """``count`` of ``n`` independent draws."""

    count: float
    n: int

    @property
    def rate(self) -> float:
        """The share observed; 0 without an image, where the bounds, 0 and 1, say that nothing is known."""
        return self.count / self.n if self.n else 0.0

    def lower(self, confidence: float) -> float:
        """One-sided lower bound (Clopper and Pearson 1934): the true share is below it with at most 1 - confidence."""
        # A beta distribution has no parameter 0: without a success, the bound is the end.
        return float(beta.ppf(1 - confidence, self.count, self.n - self.count + 1)) if self.count else 0.0

    def upper(self, confidence: float) -> float:
        """One-sided upper bound (Clopper and Pearson 1934)."""
        return upper_bound(self.count, self.n, confidence)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Two-sided interval: both one-sided bounds at half the risk each."""
        one_sided = (1 + confidence) / 2
        return self.lower(one_sided), self.upper(one_sided)

    def with_interval(self, confidence: float) -> Rate:
        """The record of it, with the two-sided interval."""
        return self._record(*self.interval(confidence), confidence)

    def with_bounds(self, confidence: float) -> Rate:
        """The record of it, with each one-sided bound."""
        return self._record(self.lower(confidence), self.upper(confidence), confidence)

    def _record(self, lower: float, upper: float, confidence: float) -> Rate:
        return Rate(n=self.n, count=int(self.count), rate=self.rate, lower=lower, upper=upper, confidence=confidence)


@dataclass(frozen=True)
class PairedDifference:
    """Two models on the same ``n`` images: on ``gained`` only the first is right, on ``lost`` only the second."""

    gained: int
    lost: int
    n: int

    @classmethod
    def of(cls, ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> Self:
        """Of the images [N] that each model has right."""
        return cls(gained=int((ours & ~theirs).sum()), lost=int((theirs & ~ours).sum()), n=len(ours))

    @property
    def rate(self) -> float:
        """The first model's accuracy minus the second's; 0 without an image."""
        return (self.gained - self.lost) / max(self.n, 1)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Two-sided adjusted Wald interval of the difference (Bonett and Price 2012, doi 10.3102/1076998611411915)."""
        gained = (self.gained + 1) / (self.n + 2)
        lost = (self.lost + 1) / (self.n + 2)
        width = float(norm.ppf((1 + confidence) / 2)) * math.sqrt((gained + lost - (gained - lost) ** 2) / (self.n + 2))
        return max(-1.0, gained - lost - width), min(1.0, gained - lost + width)

    @property
    def p_value(self) -> float:
        """McNemar's exact test that both are right equally often; a large one shows no equality."""
        discordant = self.gained + self.lost
        return float(binomtest(self.gained, discordant).pvalue) if discordant else 1.0

    def with_interval(self, confidence: float) -> Gain:
        """The record of it, with the two-sided interval."""
        return self._record(*self.interval(confidence), confidence)

    def with_bounds(self, confidence: float) -> Gain:
        """The record of it, with each of Tango's one-sided bounds."""
        return self._record(*tango(self.gained, self.lost, self.n, confidence), confidence)

    def _record(self, lower: float, upper: float, confidence: float) -> Gain:
        bounds = {"rate": self.rate, "lower": lower, "upper": upper, "confidence": confidence}
        return Gain(n=self.n, gained=self.gained, lost=self.lost, mcnemar_p=self.p_value, **bounds)


def mcnemar(gained: int, lost: int) -> float:
    """P-value of the exact one-sided test that the first of two is right more often (McNemar 1947)."""
    return float(binom.sf(gained - 1, gained + lost, 0.5))


def fisher(positives: int, hits: int, negatives: int, false_alarms: int) -> float:
    """P-value of the exact one-sided test that positives are flagged more often than negatives (Fisher 1935)."""
    return float(hypergeom.sf(hits - 1, positives + negatives, positives, hits + false_alarms))


def bernstein(n: int, variance: float, spread: float, confidence: float) -> float:
    """Distance that the mean of ``n`` bounded values keeps from their expectation (Maurer and Pontil 2009, theorem 4).

    Args:
        n: independent values.
        variance: theirs, with n - 1 in the denominator.
        spread: between the least and the largest value that is possible.
        confidence: of each side by itself.
    """
    if n < 2:
        return spread
    log = math.log(2 / (1 - confidence))
    return math.sqrt(2 * variance * log / n) + 7 * spread * log / (3 * (n - 1))


def tango(gained: float, lost: float, n: float, confidence: float) -> tuple[float, float]:
    """Bounds of the difference of two proportions on the same ``n`` images, by Tango's score (1998).

    Args:
        gained: images that only the first has right.
        lost: images that only the second has right.
        confidence: of each bound by itself.
    """
    if not n:
        return -1.0, 1.0
    z = float(norm.ppf(confidence))
    # The score falls as the difference grows, from above z at -1 to below -z at 1.
    return _crossing(gained, lost, n, z), _crossing(gained, lost, n, -z)


def _crossing(gained: float, lost: float, n: float, score: float) -> float:
    """Difference at which Tango's score is this one."""
    low = -1.0
    high = 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        if _tango_score(gained, lost, n, middle) > score:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _tango_score(gained: float, lost: float, n: float, difference: float) -> float:
    """Distance from a supposed difference, in standard errors under it."""
    # The likeliest share of images that only the second has right, if the difference were this one.
    linear = (2 * n - gained + lost) * difference - gained - lost
    constant = lost * difference * (1 - difference)
    share = (math.sqrt(max(linear**2 + 8 * n * constant, 0.0)) - linear) / (4 * n)
    variance = n * (2 * share + difference * (1 - difference))
    distance = gained - lost - n * difference
    if not distance:
        return 0.0
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)
