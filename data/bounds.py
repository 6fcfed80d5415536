"""Exact upper bounds of a rate that has to be small, and the number of images that they take."""

import math

import numpy as np


def upper_bound(count: float, n: int, confidence: float) -> float:
    """One-sided upper bound (Clopper and Pearson 1934) of the rate that ``count`` of ``n`` independent draws show."""
    # Here, and below, because it takes seconds, and every config that is read comes by.
    from scipy.stats import beta

    # A beta distribution has no parameter 0: where every draw counts, the bound is the end.
    return float(beta.ppf(confidence, count + 1, n - count)) if count < n else 1.0


def images_needed(limit: float, confidence: float) -> int:
    """Fewest images that put the bound at ``limit`` or below, if none of them counts against it."""
    # The bound of none in n is 1 - risk^(1/n).
    return math.ceil(math.log(1 - confidence) / math.log1p(-limit))


def most_exceptions(n: int, rate: float, risk: float) -> int:
    """Largest m for which m or fewer of n draws at a rate have a chance of at most ``risk``; -1 where there is none."""
    from scipy.stats import binom

    chances = binom.cdf(np.arange(n + 1), n, rate)
    return int(np.searchsorted(chances, risk, side="right")) - 1
