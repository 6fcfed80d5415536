from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from data.labels import LabelSet
from models.decision import DecisionRule, Point
from tests.support import FOUR
from tests.verify.claims import answers, judged
from verify.certificate import PointFacts
from verify.config import VerifyConfig
from verify.points import point_facts

DEFECTIVE = FOUR.names[3]
RECALL = Point(name=DEFECTIVE, threshold=0.1026, recall=0.9, confidence=0.95)


def split(found: int, of: int, alarms: int, others: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities and targets of four labels: of the worst one so many are flagged, and of all others so many."""
    scores = np.repeat([0.9, 0.05, 0.9, 0.05], [found, of - found, alarms, others - alarms]).astype(np.float32)
    probabilities = np.stack([1 - scores, 0 * scores, 0 * scores, scores], 1)
    truth = np.repeat([3, 0], [of, others])
    return probabilities, np.eye(4, dtype=np.float32)[truth]


def facts(point: Point, *counts: int, **prevalence: float) -> PointFacts:
    rule = DecisionRule.of_levels(FOUR).with_points([point])
    (found,) = point_facts(rule, *split(*counts), 0.95, prevalence)
    return found


def test_point_facts__of_the_demo() -> None:
    """Recall of 90 %: kept on 133 of 136, and 320 of 369 others are flagged with them."""
    found = facts(RECALL, 133, 136, 320, 369)
    assert found.recall is not None
    assert found.fpr is not None
    assert (found.recall.count, found.recall.n, found.fpr.count, found.fpr.n) == (133, 136, 320, 369)
    assert (found.recall.lower, found.recall.upper) == pytest.approx((0.937, 0.995), abs=5e-4)
    assert (found.verdict, found.useless) == ("PASS", True)
    few = facts(replace(RECALL, threshold=0.557, recall=None, fpr=0.1), 54, 136, 18, 369)
    assert (few.verdict, few.useless) == ("PASS", False)
    assert few.recall is not None
    assert few.recall.rate == pytest.approx(0.397, abs=5e-4)


@pytest.mark.parametrize(("wrong", "verdict"), [(0, "PASS"), (18, "PASS"), (21, "FAIL"), (76, "FAIL")])
def test_point_facts__fail_where_the_bound_contradicts_the_promise(wrong: int, verdict: str) -> None:
    """18 wrong of 136 are more than 10 %, and compatible with it."""
    assert facts(RECALL, 136 - wrong, 136, 10, 369).verdict == verdict
    assert facts(replace(RECALL, recall=None, fpr=0.1), 300, 369, wrong, 136).verdict == verdict


def test_point_facts__flags_and_precision_at_a_prevalence() -> None:
    """Half of each is found and a tenth of the others: of 10,000 images with 100 positives, 50 + 990 are flagged."""
    found = facts(RECALL, 50, 100, 10, 100, **{DEFECTIVE: 0.01})
    assert found.prevalence == 0.01
    assert found.flags_per_10000 == pytest.approx(50 + 990)
    assert found.precision == pytest.approx(50 / 1040)
    here = facts(RECALL, 50, 100, 10, 100)
    assert here.prevalence == 0.5
    assert here.flags_per_10000 == pytest.approx(3000)


def test_point_facts__a_side_without_images_never_divides() -> None:
    found = facts(RECALL, 0, 0, 3, 20)
    assert (found.recall, found.verdict, found.useless, found.precision) == (None, "INCONCLUSIVE", False, 0.0)
    assert facts(RECALL, 5, 5, 0, 0).fpr is None
    assert facts(RECALL, 0, 5, 0, 5).precision is None


def test_point_facts__of_every_kind_by_its_own_flags() -> None:
    probabilities = np.array([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1], [0.2, 0.8]], np.float32)
    targets = np.eye(2, dtype=np.float32)[[1, 1, 0, 0]]
    for kind in ("nominal", "multilabel"):
        labels = LabelSet(("a", "b"), "nominal" if kind == "nominal" else "multilabel")
        rule = DecisionRule.of(labels).with_points([Point(name="b", threshold=0.25, recall=0.5, confidence=0.95)])
        (found,) = point_facts(rule, probabilities, targets, 0.95, {})
        assert found.recall is not None
        assert found.fpr is not None
        assert (found.recall.count, found.recall.n, found.fpr.count, found.fpr.n) == (2, 2, 1, 2)


@pytest.mark.parametrize(("found", "verdict"), [(133, "PASS"), (118, "INCONCLUSIVE"), (115, "FAIL")])
def test_file_claims__what_contradicts_a_promise_fails_and_what_leaves_it_open_does_not(
    found: int, verdict: str
) -> None:
    truth = np.repeat([3, 0], [136, 369])
    said = np.repeat([3, 0, 3, 0], [found, 136 - found, 18, 351])
    point = replace(RECALL, fpr=0.1)
    rule = DecisionRule.of_levels(FOUR).with_points([point])
    test = replace(answers(truth, mini=said, teacher=truth), rules={"mini": rule})
    claims = {one.about: one for one in judged(test, "mini") if one.name == "operating point"}
    recall, alarms = claims[f"recall of {DEFECTIVE}"], claims[f"false alarms of {DEFECTIVE}"]
    assert (recall.verdict, recall.tier, recall.limit) == (verdict, "may not fail", 0.9)
    assert (alarms.verdict, alarms.tier, alarms.limit) == ("PASS", "may not fail", 0.1)
    strict = judged(test, "mini", config=VerifyConfig(profile="safety"))
    assert {one.tier for one in strict if one.name == "operating point"} == {"must pass"}
