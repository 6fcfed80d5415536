import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verify.claims import claim
from verify.evidence import Beats, Evidence, Finite, Informed, Largest, Mean, Noise, Pairs, Said, Share, Verdict
from verify.statistics import Proportion
from verify.verdicts import (
    all_of,
    bounds,
    confidence_together,
    judge_claim,
    judge_claims,
    more_images,
    overall,
    p_value,
    value,
    verdict,
    verdict_to_come,
)
from verify.words import missing

PARITY = Largest(n=40, largest=2e-4, spread=2.0, sha256={}, same_files=True)
NOTHING: list[Evidence] = [
    Share(n=0, count=0),
    Pairs(n=0, gained=0, lost=0),
    Beats(n=0, gained=0, lost=0),
    Informed(positives=0, hits=0, negatives=0, false_alarms=0),
    Informed(positives=0, hits=0, negatives=40, false_alarms=3),
    Mean(n=0, mean=0.0, variance=0.0, least=-1.0, most=1.0),
]


@pytest.mark.parametrize(
    ("evidence", "side", "limit", "expected"),
    [
        (Share(n=1000, count=980), "at least", 0.97, "PASS"),
        (Share(n=1000, count=980), "at least", 0.975, "INCONCLUSIVE"),
        (Share(n=1000, count=980), "at least", 0.99, "FAIL"),
        (Share(n=149, count=0), "at most", 0.02, "PASS"),
        (Share(n=148, count=0), "at most", 0.02, "INCONCLUSIVE"),
        (Share(n=236, count=1), "at most", 0.02, "PASS"),
        (Share(n=505, count=18), "at most", 0.02, "FAIL"),
        (Pairs(n=1000, gained=5, lost=5), "at least", -0.05, "PASS"),
        (Pairs(n=136, gained=0, lost=8), "at least", -0.05, "INCONCLUSIVE"),
        (Pairs(n=1000, gained=0, lost=90), "at least", -0.05, "FAIL"),
        (Beats(n=505, gained=60, lost=20), "at least", 0, "PASS"),
        (Beats(n=505, gained=25, lost=20), "at least", 0, "INCONCLUSIVE"),
        (Beats(n=505, gained=0, lost=0), "at least", 0, "FAIL"),
        (Beats(n=20, gained=0, lost=0), "at least", 0, "INCONCLUSIVE"),
        (Informed(positives=50, hits=30, negatives=400, false_alarms=40), "at least", 0, "PASS"),
        (Informed(positives=50, hits=0, negatives=400, false_alarms=0), "at least", 0, "FAIL"),
        (Informed(positives=3, hits=0, negatives=400, false_alarms=0), "at least", 0, "INCONCLUSIVE"),
        (Said(positives=45, said=0), "at least", 1, "FAIL"),
        (Said(positives=29, said=0), "at least", 1, "PASS"),
        (Said(positives=45, said=1), "at least", 1, "PASS"),
        (Finite(n=40, count=0, images=()), "at most", 0, "PASS"),
        (Finite(n=40, count=1, images=("ab",)), "at most", 0, "FAIL"),
        (PARITY, "at most", 1e-3, "PASS"),
        (replace(PARITY, largest=1.0), "at most", 1e-3, "FAIL"),
        (replace(PARITY, largest=float("nan")), "at most", 1e-3, "FAIL"),
        (replace(PARITY, spread=0.0), "at most", 1e-3, "FAIL"),
        (replace(PARITY, spread=0.0, largest=0.0), "at most", 1e-3, "PASS"),
        (replace(PARITY, same_files=False), "at most", 1e-3, "FAIL"),
        (Mean(n=1000, mean=-0.5, variance=1.0, least=-3, most=10), "at most", 0, "PASS"),
        (Mean(n=1000, mean=-0.1, variance=1.0, least=-3, most=10), "at most", 0, "INCONCLUSIVE"),
        (Mean(n=1000, mean=0.5, variance=1.0, least=-3, most=10), "at most", 0, "FAIL"),
        (Noise(n=505, error=0.04, band=0.05), "at most", 0.05, "PASS"),
        (Noise(n=505, error=0.06, band=0.05), "at most", 0.05, "FAIL"),
    ],
)
def test_verdict__by_hand(evidence: Evidence, side: str, limit: float, expected: Verdict) -> None:
    assert verdict(claim(evidence, side, limit), 0.95) == expected


def test_verdict__a_bound_on_the_limit_passes() -> None:
    lower = Proportion(40, 50).lower(0.95)
    assert verdict(claim(Share(n=50, count=40), limit=lower), 0.95) == "PASS"
    assert verdict(claim(Share(n=50, count=40), limit=float(np.nextafter(lower, 1))), 0.95) == "INCONCLUSIVE"


@pytest.mark.parametrize("evidence", NOTHING, ids=lambda found: str(found.kind))
def test_verdict__no_image_never_divides(evidence: Evidence) -> None:
    found = judge_claim(claim(evidence, limit=0.5), 0.95, 0.99)
    assert (found.value, found.verdict, found.more_images) == (None, "INCONCLUSIVE", None)
    if found.lower is not None and found.upper is not None:
        assert found.lower <= -1 or found.lower == 0
        assert found.upper == 1


def test_judge_claim__bounds_alone_and_together() -> None:
    claims = [claim(Share(n=505, count=472), limit=0.8)] * 7
    found = judge_claims(claims, 0.95)[0]
    assert confidence_together(claims, 0.95) == pytest.approx(1 - 0.05 / 7)
    assert found.lower == pytest.approx(0.914, abs=5e-4)
    assert found.lower_together == pytest.approx(0.903, abs=5e-4)
    assert (found.value, found.confidence, found.p_value) == (472 / 505, 0.95, None)


def test_confidence_together__what_has_no_bound_takes_no_share() -> None:
    claims = [claim(Share(n=9, count=9)), claim(PARITY), claim(Said(positives=1, said=1))]
    assert confidence_together(claims, 0.95) == 0.95
    assert confidence_together([claim(PARITY)], 0.95) == 0.95


def test_judge_claim__of_a_criterion_gives_it_again() -> None:
    found = judge_claim(claim(Pairs(n=136, gained=0, lost=8), limit=-0.05), 0.95, 0.99)
    assert judge_claim(replace(found, verdict="PASS", lower=1.0, more_images=0), 0.95, 0.99) == found


@pytest.mark.parametrize(
    ("must", "may", "reported", "expected"),
    [
        ("PASS", "PASS", "PASS", "PASS"),
        ("PASS", "INCONCLUSIVE", "FAIL", "PASS"),
        ("PASS", "FAIL", "PASS", "FAIL"),
        ("INCONCLUSIVE", "PASS", "PASS", "INCONCLUSIVE"),
        ("INCONCLUSIVE", "FAIL", "PASS", "FAIL"),
        ("FAIL", "PASS", "PASS", "FAIL"),
    ],
)
def test_overall__what_must_pass_passes_and_what_may_not_fail_does_not(
    must: Verdict, may: Verdict, reported: Verdict, expected: Verdict
) -> None:
    given: list[tuple[Any, Verdict]] = [("must pass", must), ("may not fail", may), ("reported", reported)]
    criteria = [
        replace(judge_claim(claim(Share(n=9, count=9), tier=tier), 0.95, 0.95), verdict=outcome)
        for tier, outcome in given
    ]
    assert overall(criteria) == expected


def test_all_of__every_model_has_to_pass() -> None:
    assert all_of(["PASS", "PASS"]) == "PASS"
    assert all_of(["PASS", "INCONCLUSIVE"]) == "INCONCLUSIVE"
    assert all_of(["INCONCLUSIVE", "FAIL", "PASS"]) == "FAIL"


def test_more_images__no_flips() -> None:
    assert more_images(claim(Share(n=100, count=100), limit=0.99), 0.95) == 199
    assert more_images(claim(Share(n=299, count=299), limit=0.99), 0.95) == 0
    assert more_images(claim(Share(n=100, count=0), "at most", 0.02), 0.95) == 49


def test_more_images__no_number_decides() -> None:
    assert more_images(claim(Share(n=100, count=90), limit=0.9), 0.95) is None


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.05, 0.95))
def test_more_images__decides_and_one_fewer_does_not(drawn: tuple[int, int], limit: float) -> None:
    count, n = drawn
    more = more_images(claim(Share(n=n, count=count), limit=limit), 0.95)
    if more is None:
        assert abs(count / n - limit) < 0.001
        return

    def at(images: int) -> str:
        found: Any = Share(n=images, count=count / n * images)  # type: ignore[arg-type]  # any number, for the search
        return verdict(claim(found, limit=limit), 0.95)

    assert at(n + more) != "INCONCLUSIVE"
    assert {at(int(one)) for one in np.linspace(n, n + more - 1, min(more, 20)).astype(int)} <= {"INCONCLUSIVE"}


@pytest.mark.parametrize(
    "evidence",
    [
        Pairs(n=136, gained=2, lost=5),
        Beats(n=100, gained=9, lost=5),
        Informed(positives=20, hits=4, negatives=80, false_alarms=9),
        Mean(n=300, mean=-0.2, variance=1.0, least=-3.0, most=10.0),
    ],
    ids=lambda found: str(found.kind),
)
def test_more_images__of_every_kind_would_pass(evidence: Evidence) -> None:
    side, limit = ("at most", 0.0) if isinstance(evidence, Mean) else ("at least", -0.05)
    more = more_images(claim(evidence, side, limit), 0.95)
    assert more is not None
    assert 10 < more < 10_000
    times = 1 + 1.2 * more / 100
    grown: dict[str, Any] = {
        name: round(times * number) if isinstance(number, int) else number
        for name, number in vars(evidence).items()
        if name != "kind"
    }
    assert verdict(claim(replace(evidence, **grown), side, limit), 0.95) == "PASS"


@pytest.mark.parametrize(
    ("evidence", "side", "limit", "expected"),
    [
        (Share(n=261, count=46), "at most", 0.15, "FAIL"),
        (Share(n=85, count=1), "at most", 0.05, "PASS"),
        (Share(n=63, count=55), "at least", 0.85, "PASS"),
        (Pairs(n=132, gained=4, lost=11), "at least", -0.05, "FAIL"),
        (Pairs(n=60, gained=3, lost=3), "at least", -0.05, "PASS"),
        (Beats(n=63, gained=9, lost=5), "at least", 0, "PASS"),
        (Informed(positives=5, hits=1, negatives=80, false_alarms=20), "at least", 0, "FAIL"),
        (Mean(n=300, mean=0.2, variance=1, least=-3, most=10), "at most", 0, "FAIL"),
        (Mean(n=300, mean=-0.2, variance=1, least=-3, most=10), "at most", 0, "PASS"),
    ],
)
def test_verdict_to_come__by_hand(evidence: Evidence, side: str, limit: float, expected: Verdict) -> None:
    found = judge_claim(claim(evidence, side, limit), 0.95, 0.99)
    assert found.verdict == "INCONCLUSIVE"
    assert verdict_to_come(found) == expected
    end = "it" if expected == "PASS" else "that it fails"
    assert re.fullmatch(rf"about [\d,]+ more images? like these would show {end}", missing(found))


def test_value_and_p_value__by_hand() -> None:
    found = Informed(positives=50, hits=30, negatives=400, false_alarms=40)
    assert value(found) == pytest.approx(0.5)
    assert p_value(Beats(n=10, gained=3, lost=0)) == pytest.approx(1 / 8)
    assert p_value(Share(n=3, count=1)) is None
    assert bounds(found, 0.95) is None


def test_judge_claim__the_count_that_says_least_for_the_claim_decides() -> None:
    clusters = Share(n=60, count=59)
    asked = claim(Share(n=500, count=490), limit=0.95, recounts={"one of each cluster": clusters})
    found = judge_claim(asked, 0.95, 0.99)
    assert (found.counted, found.evidence, found.verdict) == ("one of each cluster", clusters, "INCONCLUSIVE")
    assert found.recounts == {"one of each group": Share(n=500, count=490)}
    assert found.lower == Proportion(59, 60).lower(0.95)
    assert judge_claim(found, 0.95, 0.99) == found, "judged again, it says the same"
    more = claim(Share(n=500, count=490), limit=0.95, recounts={"one of each cluster": Share(n=480, count=475)})
    assert judge_claim(more, 0.95, 0.99).counted == "one of each group"
    most = claim(Share(n=500, count=2), "at most", 0.02, recounts={"one of each cluster": Share(n=450, count=2)})
    assert judge_claim(most, 0.95, 0.99).counted == "one of each cluster"
    test = claim(Beats(n=500, gained=40, lost=10), recounts={"one of each cluster": Beats(n=300, gained=12, lost=9)})
    assert judge_claim(test, 0.95, 0.99).verdict == "INCONCLUSIVE"


def test_judge_claim__claims_that_share_the_risk() -> None:
    alone, shared = (judge_claim(claim(Share(n=100, count=99), shared_by=count), 0.95, 0.99) for count in (1, 5))
    assert (alone.confidence, shared.confidence) == (0.95, 0.99)
    assert shared.lower == Proportion(99, 100).lower(0.99)
