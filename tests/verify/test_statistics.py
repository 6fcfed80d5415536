import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from verify.certificate import Rate
from verify.statistics import PairedDifference, Proportion, more_images, verdict_of

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


@pytest.mark.parametrize(
    ("count", "target", "verdict"),
    [(980, 0.97, "PASS"), (980, 0.975, "INCONCLUSIVE"), (980, 0.985, "INCONCLUSIVE"), (980, 0.99, "FAIL")],
)
def test_verdict_of__the_bounds_decide_and_not_the_rate(count: int, target: float, verdict: str) -> None:
    assert verdict_of(Proportion(count, 1000), target, 0.95) == verdict


def test_verdict_of__none_and_all() -> None:
    assert verdict_of(Proportion(0, 100), 0.5, 0.95) == "FAIL"
    assert verdict_of(Proportion(100, 100), 0.97, 0.95) == "PASS"
    assert verdict_of(Proportion(100, 100), 0.999, 0.95) == "INCONCLUSIVE"
    assert verdict_of(Proportion(1, 1), 0.5, 0.95) == "INCONCLUSIVE"


def test_verdict_of__a_lower_bound_on_the_target_passes() -> None:
    found = Proportion(40, 50)
    assert verdict_of(found, found.lower(0.95), 0.95) == "PASS"
    assert verdict_of(found, np.nextafter(found.lower(0.95), 1), 0.95) == "INCONCLUSIVE"
    assert verdict_of(found, found.upper(0.95), 0.95) == "INCONCLUSIVE"


def test_more_images__no_flips() -> None:
    assert more_images(Proportion(100, 100), 0.99, 0.95) == 199
    assert more_images(Proportion(299, 299), 0.99, 0.95) == 0


def test_more_images__no_number_decides() -> None:
    assert more_images(Proportion(90, 100), 0.9, 0.95) is None


def test_more_images__already_failed() -> None:
    assert more_images(Proportion(10, 100), 0.9, 0.95) == 0


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.floats(0.05, 0.95),
    st.sampled_from(CONFIDENCES),
)
def test_more_images__decides_and_one_fewer_does_not(drawn: tuple[int, int], target: float, confidence: float) -> None:
    found = Proportion(*drawn)
    more = more_images(found, target, confidence)
    if more is None:
        assert abs(found.rate - target) < 0.001
        return

    def at(n: int) -> str:
        return verdict_of(Proportion(found.rate * n, n), target, confidence)

    assert at(found.n + more) != "INCONCLUSIVE"
    before = np.linspace(found.n, found.n + more - 1, min(more, 20)).astype(int)
    assert {at(int(n)) for n in before} <= {"INCONCLUSIVE"}


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
