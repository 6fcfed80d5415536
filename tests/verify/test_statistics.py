import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, fisher_exact

from verify.certificate import Rate
from verify.statistics import PairedDifference, Proportion, bernstein, fisher, mcnemar, tango

CONFIDENCES = [0.9, 0.95, 0.99]


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize(
    ("count", "n"), [(0, 1), (1, 1), (0, 40), (40, 40), (1, 40), (17, 40), (980, 1000), (299, 299)]
)
def test_bounds__are_those_of_scipy(count: int, n: int, confidence: float) -> None:
    found = Proportion(count, n)
    greater = binomtest(count, n, alternative="greater").proportion_ci(confidence, "exact")
    less = binomtest(count, n, alternative="less").proportion_ci(confidence, "exact")
    both = binomtest(count, n).proportion_ci(confidence, "exact")
    assert math.isclose(found.lower(confidence), greater.low, abs_tol=1e-12)
    assert math.isclose(found.upper(confidence), less.high, abs_tol=1e-12)
    np.testing.assert_allclose(found.interval(confidence), (both.low, both.high), atol=1e-12)
    assert found.rate == count / n


def test_records__two_sided_interval_and_one_sided_bounds() -> None:
    found = Proportion(40, 50)
    two_sided = found.with_interval(0.95)
    assert two_sided == Rate(
        n=50, count=40, rate=0.8, lower=found.lower(0.975), upper=found.upper(0.975), confidence=0.95
    )
    assert found.with_bounds(0.95) == replace(two_sided, lower=found.lower(0.95), upper=found.upper(0.95))


@pytest.mark.parametrize(("n", "target"), [(299, 0.99), (598, 0.995), (2995, 0.999)])
def test_lower__no_flips_in_the_images_of_the_rule_of_three(n: int, target: float) -> None:
    assert Proportion(n, n).lower(0.95) >= target
    assert Proportion(n - 1, n - 1).lower(0.95) < target


def test_lower__by_hand() -> None:
    assert math.isclose(Proportion(50, 50).lower(0.95), 0.05 ** (1 / 50))  # p^n = 1 - confidence
    assert math.isclose(Proportion(0, 50).upper(0.95), 1 - 0.05 ** (1 / 50))
    assert round(Proportion(980, 1000).lower(0.95), 3) == 0.971


def test_bounds__none_and_all() -> None:
    assert Proportion(0, 7).lower(0.95) == 0
    assert Proportion(7, 7).upper(0.95) == 1
    assert Proportion(0, 7).interval(0.95)[0] == 0
    assert Proportion(7, 7).interval(0.95)[1] == 1


@settings(deadline=None)
@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from(CONFIDENCES))
def test_bounds__enclose_the_rate_and_tighten_with_less_confidence(drawn: tuple[int, int], confidence: float) -> None:
    found = Proportion(*drawn)
    assert 0 <= found.lower(confidence) <= found.rate <= found.upper(confidence) <= 1
    assert found.lower(0.6) >= found.lower(confidence)
    assert found.upper(0.6) <= found.upper(confidence)


def test_bounds__without_an_image_nothing_is_known() -> None:
    found = Proportion(0, 0)
    assert (found.rate, found.lower(0.95), found.upper(0.95)) == (0, 0, 1)
    assert tango(0, 0, 0, 0.95) == (-1, 1)
    assert bernstein(1, 0.0, 3.0, 0.95) == 3


@pytest.mark.parametrize("table", [(10, 5, 10, 1), (50, 0, 400, 0), (7, 7, 21, 3), (0, 0, 9, 2)])
def test_fisher__is_that_of_scipy(table: tuple[int, int, int, int]) -> None:
    positives, hits, negatives, alarms = table
    expected = fisher_exact(np.array([[hits, positives - hits], [alarms, negatives - alarms]]), alternative="greater")
    assert fisher(*table) == pytest.approx(expected.pvalue)


@pytest.mark.parametrize(("gained", "lost"), [(20, 10), (0, 5), (5, 0)])
def test_mcnemar__is_a_binomial_test(gained: int, lost: int) -> None:
    assert mcnemar(gained, lost) == pytest.approx(binomtest(gained, gained + lost, alternative="greater").pvalue)
    assert mcnemar(0, 0) == 1


def test_tango__published_and_by_symmetry() -> None:
    assert tango(12, 2, 50, 0.975) == pytest.approx((0.0611, 0.3447), abs=1e-4)
    # Nothing differs: the score is |d| / sqrt((|d| - d²) / n), so the bound is z² / (n + z²).
    bound = 1.959964**2 / (40 + 1.959964**2)
    assert tango(0, 0, 40, 0.975) == pytest.approx((-bound, bound), abs=1e-6)
    low, high = tango(3, 9, 80, 0.95)
    assert tango(9, 3, 80, 0.95) == pytest.approx((-high, -low))
    assert tango(0, 40, 40, 0.95)[0] == pytest.approx(-1)


def test_paired_difference__by_hand_and_by_scipy() -> None:
    found = PairedDifference(gained=30, lost=12, n=200)
    assert found.rate == pytest.approx(0.09)
    assert found.p_value == pytest.approx(binomtest(12, 42).pvalue)
    width = 1.959964 * math.sqrt((44 / 202 - (18 / 202) ** 2) / 202)  # p12 = 31/202, p21 = 13/202
    assert found.interval(0.95) == pytest.approx((18 / 202 - width, 18 / 202 + width), abs=1e-6)
    swapped = PairedDifference(gained=12, lost=30, n=200)
    assert swapped.interval(0.95) == pytest.approx(tuple(-bound for bound in reversed(found.interval(0.95))))


def test_paired_difference__equal_models() -> None:
    found = PairedDifference(gained=0, lost=0, n=50)
    low, high = found.interval(0.95)
    assert (found.rate, found.p_value) == (0.0, 1.0)
    assert low == pytest.approx(-high)
    assert 0 < high < 0.1


def test_paired_difference__its_interval_covers_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    draws = generator.multinomial(150, [0.12, 0.05, 0.83], 2000)
    covered = [
        low <= 0.07 <= high
        for gained, lost, _ in draws.tolist()
        for low, high in [PairedDifference(gained, lost, 150).interval(0.9)]
    ]
    assert 0.88 < np.mean(covered) < 0.94
