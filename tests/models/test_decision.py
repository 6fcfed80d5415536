import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import bernoulli, entropy
from torch.nn import functional

from data.labels import LabelSet
from models.decision import DecisionRule, Point
from models.facts import problem_type
from tests.support import FOUR, TWO

FIVE = tuple("abcde")
NOMINAL = DecisionRule.of(LabelSet(FIVE, "nominal"))
MULTILABEL = DecisionRule.of(LabelSet(FIVE, "multilabel"))
THREE = LabelSet(("a", "b", "c"), "multilabel")

GENERATOR = torch.Generator().manual_seed(0)
LOGITS, OTHER = (torch.randn(9, 5, generator=GENERATOR, dtype=torch.float64) * 3 for _ in range(2))
SOFT = torch.rand(9, 5, generator=GENERATOR, dtype=torch.float64)


def test_probabilities__softmax_without_overflow() -> None:
    logits = np.array([[0, np.log(3)], [2000, -2000]], np.float32)
    np.testing.assert_allclose(NOMINAL.probabilities(logits), np.array([[0.25, 0.75], [1.0, 0.0]]), atol=1e-6)


def test_probabilities__a_sigmoid_each_without_overflow() -> None:
    logits = np.array([[0, np.log(3)], [2000, -2000]], np.float32)
    given = MULTILABEL.probabilities(logits)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, np.array([[0.5, 0.75], [1.0, 0.0]]), atol=1e-6)


def test_decide__the_likeliest_label() -> None:
    assert NOMINAL.decide(np.array([[0.4, 0.35, 0.25], [0.0, 0.0, 1.0]])).tolist() == [0, 2]


def test_decide__every_label_from_its_threshold_on() -> None:
    probabilities = np.array([[0.5, 0.49, 0.9], [0.1, 0.2, 0.3]])
    by_default = DecisionRule.of(THREE).decide(probabilities)
    assert by_default.tolist() == [[True, False, True], [False, False, False]]
    fitted = DecisionRule(THREE, (0.6, 0.4, 0.3)).decide(probabilities)
    assert fitted.tolist() == [[False, True, True], [False, False, True]]


@pytest.mark.parametrize("thresholds", [(), (0.5, 0.5), (0.5, 0.5, 1.1), (0.5, 0.5, -0.1), (0.5, 0.5, float("nan"))])
def test_rule__thresholds_that_do_not_fit(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="expected 3 thresholds between 0 and 1"):
        DecisionRule(THREE, thresholds)
    with pytest.raises(ValueError, match="expected 0 or 3 thresholds"):
        DecisionRule(FOUR, (0.5, 0.5))
    with pytest.raises(ValueError, match="expected 0 thresholds"):
        DecisionRule(LabelSet(("a", "b"), "nominal"), (0.5,))


def point(name: str, threshold: float) -> Point:
    return Point(name=name, threshold=threshold, recall=0.9, confidence=0.95)


def test_decide__ties_go_to_the_more_severe_side() -> None:
    tied = np.array([[0.5, 0.5, 0.0, 0.0], [0.3, 0.1, 0.3, 0.3], [0.6, 0.0, 0.0, 0.4]])
    assert DecisionRule.of(FOUR).decide(tied).tolist() == [1, 3, 0]
    assert DecisionRule.of(LabelSet(FOUR.names, "nominal")).decide(tied).tolist() == [0, 0, 0]


def test_decide__the_most_severe_level_that_reaches_its_threshold() -> None:
    probabilities = np.array([[0.4, 0.1, 0.25, 0.25], [0.55, 0.0, 0.0, 0.45], [0.0, 0.0, 0.45, 0.55]])
    assert DecisionRule.of_levels(FOUR).decide(probabilities).tolist() == [2, 0, 3]
    assert DecisionRule(FOUR, (0.5, 0.7, 0.25)).decide(probabilities).tolist() == [3, 3, 3]


def test_with_points__flags_are_the_decisions_of_levels() -> None:
    """Also where the threshold of a level is above that of the more severe ones."""
    rule = DecisionRule.of_levels(FOUR).with_points([point(FOUR.names[1], 0.8), point(FOUR.names[3], 0.9)])
    assert rule.thresholds == (0.8, 0.8, 0.9)
    probabilities = np.random.default_rng(0).dirichlet([0.3] * 4, 200)
    flags, decided = rule.flags(probabilities), rule.decide(probabilities)
    assert (flags[:, 0] == (decided >= 1)).all()
    assert (flags[:, 1] == (decided >= 3)).all()
    assert DecisionRule.of_levels(FOUR).with_points([point(FOUR.names[2], 0.1)]).thresholds == (0.5, 0.1, 0.5)


def test_with_points__flags_are_the_decisions_of_a_multilabel_set() -> None:
    rule = DecisionRule.of(THREE).with_points([point("c", 0.2)])
    assert rule.thresholds == (0.5, 0.5, 0.2)
    probabilities = np.random.default_rng(0).random((50, 3))
    assert (rule.flags(probabilities)[:, 0] == rule.decide(probabilities)[:, 2]).all()


def test_with_points__a_nominal_label_is_decided_where_it_is_flagged_and_nowhere_else() -> None:
    rule = NOMINAL.with_points([point("b", 0.25)])
    probabilities = np.array([[0.6, 0.3, 0.1, 0, 0], [0.4, 0.24, 0.2, 0.1, 0.06], [0.2, 0.24, 0.22, 0.2, 0.14]])
    assert rule.decide(probabilities).tolist() == [1, 0, 2]
    assert rule.flags(probabilities)[:, 0].tolist() == [True, False, False]
    every = NOMINAL.with_points([point(name, 0.9) for name in FIVE])
    assert every.decide(probabilities).tolist() == [0, 0, 1], (
        "the likeliest, where all have a point and none is flagged"
    )


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        (NOMINAL, point("z", 0.5)),
        (DecisionRule.of_levels(FOUR), point(FOUR.names[0], 0.5)),
        (DecisionRule.of(FOUR), point(FOUR.names[1], 0.5)),
        (NOMINAL, point("a", 1.5)),
    ],
    ids=["unknown label", "the mildest level", "no levels", "no probability"],
)
def test_with_points__that_do_not_fit(rule: DecisionRule, wrong: Point) -> None:
    with pytest.raises(ValueError, match=r"operating points|thresholds between 0 and 1"):
        rule.with_points([wrong])
    stored = {"thresholds": rule.thresholds, "points": [asdict(wrong)]}
    with pytest.raises(ValueError, match=r"operating points|thresholds between 0 and 1"):
        DecisionRule.of_json(rule.labels, stored)


@pytest.mark.parametrize(
    "rule",
    [
        DecisionRule.of(FOUR),
        DecisionRule(THREE, (0.25, 0.5, 1.0)),
        DecisionRule.of_levels(FOUR).with_points([point(FOUR.names[3], 0.1)]),
        NOMINAL.with_points([point("b", 0.25)]),
    ],
)
def test_of_json__gives_back_the_rule(rule: DecisionRule) -> None:
    stored = json.loads(json.dumps(rule.to_json()))
    assert DecisionRule.of_json(rule.labels, stored) == rule
    assert stored["method"] == ("threshold" if not rule.exclusive else "levels" if rule.thresholds else "argmax")


def test_texts__say_what_the_rule_does() -> None:
    exclusive, sets = DecisionRule.of(TWO), DecisionRule.of(THREE)
    assert (exclusive.activation, exclusive.answer) == ("softmax", "decision")
    assert (sets.activation, sets.answer) == ("sigmoid", "set of labels")


def test_same__of_a_set_every_label_counts() -> None:
    assert NOMINAL.same(np.array([0, 1, 2]), np.array([0, 2, 2])).tolist() == [True, False, True]
    left, right = np.array([[True, False], [False, False]]), np.array([[True, True], [False, False]])
    assert NOMINAL.same(left, right).tolist() == [False, True]


def test_cross_entropy__is_torchs() -> None:
    logits, targets = LOGITS * 10, SOFT.softmax(1)
    expected = functional.cross_entropy(logits, targets).item()
    assert NOMINAL.cross_entropy(logits.numpy(), targets.numpy()) == pytest.approx(expected, rel=1e-12)
    expected = 5 * functional.binary_cross_entropy_with_logits(logits, SOFT).item()
    assert MULTILABEL.cross_entropy(logits.numpy(), SOFT.numpy()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rule", [NOMINAL, MULTILABEL])
def test_logits__give_the_probabilities_back(rule: DecisionRule) -> None:
    count = len(rule.labels)
    sure = np.eye(count, dtype=np.float32)
    probabilities = np.concatenate(
        [rule.probabilities(np.linspace(-9, 9, 4 * count, dtype=np.float32).reshape(4, count)), sure]
    )
    logits = rule.logits(probabilities.astype(np.float32))
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(rule.probabilities(logits), probabilities, atol=1e-7)
    assert np.isnan(rule.logits(np.full((1, count), np.nan, np.float32))).all()


def test_divergence__is_scipys_relative_entropy() -> None:
    q, p = (NOMINAL.probabilities(logits.numpy()) for logits in (LOGITS, OTHER))
    expected = entropy(p, q, axis=1).mean()
    assert NOMINAL.divergence(LOGITS.numpy(), OTHER.numpy()) == pytest.approx(expected, rel=1e-9)
    q, p = (MULTILABEL.probabilities(logits.numpy()) for logits in (LOGITS, OTHER))
    coins = [entropy([[1 - b, b] for b in p[row]], [[1 - a, a] for a in q[row]], axis=1).sum() for row in range(9)]
    assert MULTILABEL.divergence(LOGITS.numpy(), OTHER.numpy()) == pytest.approx(np.mean(coins), rel=1e-9)
    assert bernoulli(0.5).entropy() == pytest.approx(MULTILABEL.cross_entropy(np.zeros((1, 1)), np.ones((1, 1))))


@pytest.mark.parametrize("rule", [NOMINAL, MULTILABEL])
def test_divergence__is_zero_at_equality_and_finite_where_one_is_sure(rule: DecisionRule) -> None:
    sure = np.array([[900.0, -900.0]])
    assert rule.divergence(sure, sure) == 0
    assert 0 < rule.divergence(-sure, sure) < np.inf


def test_problem_type__only_where_softmax_would_be_wrong() -> None:
    assert problem_type(THREE) == {"problem_type": "multi_label_classification"}
    assert problem_type(FOUR) == problem_type(TWO) == {}


def test_modules__need_no_torch() -> None:
    script = "import sys, models.decision, models.facts, models.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False).returncode == 0
