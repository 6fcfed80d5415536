"""Exact bounds on proportions, and the verdict they allow. Pure functions."""

import math
from dataclasses import dataclass

from scipy.stats import beta, binomtest, norm

from verify.certificate import Gain, Rate, Verdict

MOST_IMAGES = 10_000_000
"""The search for the number of images that would decide gives up here."""


@dataclass(frozen=True)
class Proportion:
    """``count`` of ``n`` independent draws."""

    count: float
    n: int

    @property
    def rate(self) -> float:
        """The share observed."""
        return self.count / self.n

    def lower(self, confidence: float) -> float:
        """One-sided lower bound (Clopper and Pearson 1934): the true share is below it with at most 1 - confidence."""
        # A beta distribution has no parameter 0: without a success, or in ``upper`` a failure, the bound is the end.
        return float(beta.ppf(1 - confidence, self.count, self.n - self.count + 1)) if self.count else 0.0

    def upper(self, confidence: float) -> float:
        """One-sided upper bound (Clopper and Pearson 1934)."""
        return float(beta.ppf(confidence, self.count + 1, self.n - self.count)) if self.count < self.n else 1.0

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

    @property
    def rate(self) -> float:
        """The first model's accuracy minus the second's."""
        return (self.gained - self.lost) / self.n

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
        """The record of it."""
        lower, upper = self.interval(confidence)
        bounds = {"rate": self.rate, "lower": lower, "upper": upper, "confidence": confidence}
        return Gain(n=self.n, gained=self.gained, lost=self.lost, mcnemar_p=self.p_value, **bounds)


def verdict_of(found: Proportion, target: float, confidence: float) -> Verdict:
    """PASS if the lower bound reaches the target, FAIL if the upper bound stays below it, else INCONCLUSIVE."""
    if found.lower(confidence) >= target:
        return "PASS"
    return "FAIL" if found.upper(confidence) < target else "INCONCLUSIVE"


def more_images(found: Proportion, target: float, confidence: float) -> int | None:
    """Number of further images that would decide, if the rate stayed as it is; null where no number of them would.

    Zero where the verdict is already PASS or FAIL.
    """

    def undecided(n: int) -> bool:
        # Not rounded to whole images: with rounding, the verdict would come and go as n grows.
        return verdict_of(Proportion(found.rate * n, n), target, confidence) == "INCONCLUSIVE"

    if verdict_of(found, target, confidence) != "INCONCLUSIVE":
        return 0
    low = high = found.n
    while undecided(high):
        low = high
        high *= 2
        if high > MOST_IMAGES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if undecided(middle) else (low, middle)
    return high - found.n
