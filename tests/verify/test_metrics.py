import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    cohen_kappa_score,
    confusion_matrix,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
)

from data.labels import LabelSet
from models.decision import DecisionRule
from tests.support import FOUR
from verify.certificate import LabelFacts, Majority
from verify.metrics import (
    against_baseline,
    agreement,
    agreement_by_label,
    confusion,
    flips,
    kappa,
    label_facts,
    macro_f1,
    majority,
    ordinal_facts,
    quadratic_kappa,
    sides,
    under_call,
)
from verify.statistics import Proportion

RULE = DecisionRule.of(FOUR)
TRUTH = np.array([0, 0, 0, 0, 1, 1, 3, 3])
PREDICTED = np.array([0, 0, 1, 3, 1, 0, 3, 3])

SETS = DecisionRule.of(LabelSet(("dog", "cat", "night"), "multilabel"))
SET_TRUTH = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0]], bool)
SET_DECIDED = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]], bool)

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


def test_agreement__counts_equal_choices() -> None:
    assert agreement(RULE, TRUTH, PREDICTED) == Proportion(5, 8)
    assert agreement(RULE, TRUTH, TRUTH) == Proportion(8, 8)


def test_agreement__of_sets_every_label_counts() -> None:
    assert agreement(SETS, SET_TRUTH, SET_DECIDED) == Proportion(2, 5)


def test_agreement_by_label__of_sets_and_by_what_the_teacher_says() -> None:
    assert agreement_by_label(SETS, SET_TRUTH, SET_DECIDED, 0.9) == {
        "dog": Proportion(4, 5).with_interval(0.9),
        "cat": Proportion(3, 5).with_interval(0.9),
        "night": Proportion(5, 5).with_interval(0.9),
    }
    assert agreement_by_label(RULE, TRUTH, PREDICTED, 0.9) == {
        "sound": Proportion(2, 4).with_interval(0.9),
        "doubtful": Proportion(1, 2).with_interval(0.9),
        "likely": Proportion(0, 0).with_interval(0.9),
        "broken": Proportion(2, 2).with_interval(0.9),
    }


def test_kappa__is_that_of_scikit_learn() -> None:
    assert kappa(RULE, TRUTH, PREDICTED) == pytest.approx(cohen_kappa_score(TRUTH, PREDICTED))
    assert kappa(RULE, TRUTH, TRUTH) == 1
    assert kappa(RULE, np.array([2, 2]), np.array([2, 2])) is None
    assert kappa(RULE, TRUTH[:0], TRUTH[:0]) is None
    names = [str(row) for row in SET_TRUTH], [str(row) for row in SET_DECIDED]
    assert kappa(SETS, SET_TRUTH, SET_DECIDED) == pytest.approx(cohen_kappa_score(*names))


def test_sides_and_flips__of_labels_that_are_not_ordered_or_exclusive() -> None:
    nominal = DecisionRule.of(LabelSet(FOUR.names, "nominal"))
    assert sides(nominal, TRUTH, TRUTH, PREDICTED) == ()
    assert sum(one.count for one in flips(nominal, TRUTH, TRUTH, PREDICTED)) == 3
    assert flips(SETS, SET_TRUTH, SET_TRUTH, SET_DECIDED) == ()


def test_majority__the_most_frequent_label() -> None:
    assert majority(RULE, TRUTH) == Majority(labels=("sound",), count=4, n=8, rate=0.5)
    assert majority(RULE, np.array([3])) == Majority(labels=("broken",), count=1, n=1, rate=1.0)


def test_majority__the_most_frequent_set() -> None:
    assert majority(SETS, SET_TRUTH[:3]).count == 1
    assert majority(SETS, SET_TRUTH[[1, 1, 0]]) == Majority(labels=("dog", "cat"), count=2, n=3, rate=2 / 3)
    assert majority(SETS, SET_TRUTH[2:4]) == Majority(labels=(), count=2, n=2, rate=1.0)


def test_confusion__true_labels_are_rows() -> None:
    assert confusion(RULE, TRUTH, PREDICTED) == ((2, 1, 0, 1), (1, 1, 0, 0), (0, 0, 0, 0), (0, 0, 0, 2))
    assert confusion(SETS, SET_TRUTH, SET_DECIDED) is None


def facts(label: str, confusion: tuple[int, int, int, int], *scores: float | None) -> LabelFacts:
    precision, recall, f1 = scores
    positives = confusion[2] + confusion[3]
    return LabelFacts(label=label, positives=positives, precision=precision, recall=recall, f1=f1, confusion=confusion)


def test_label_facts__by_hand() -> None:
    assert label_facts(RULE, TRUTH, PREDICTED) == (
        facts("sound", (3, 1, 2, 2), 2 / 3, 0.5, 4 / 7),
        facts("doubtful", (5, 1, 1, 1), 0.5, 0.5, 0.5),
        facts("likely", (8, 0, 0, 0), None, None, None),
        facts("broken", (5, 1, 0, 2), 2 / 3, 1.0, 0.8),
    )


def test_label_facts__lacking_but_predicted_and_present_but_never_predicted() -> None:
    _, never_predicted, lacking, _ = label_facts(RULE, np.array([0, 1]), np.array([0, 2]))
    assert (never_predicted.positives, never_predicted.precision, never_predicted.recall) == (1, None, 0.0)
    assert (lacking.positives, lacking.precision, lacking.recall) == (0, 0.0, None)


def test_label_facts__of_sets_by_hand() -> None:
    assert label_facts(SETS, SET_TRUTH, SET_DECIDED) == (
        facts("dog", (2, 0, 1, 2), 1.0, 2 / 3, 0.8),
        facts("cat", (3, 1, 1, 0), 0.0, 0.0, 0.0),
        facts("night", (5, 0, 0, 0), None, None, None),
    )


@settings(max_examples=50, deadline=None)
@given(PAIRS)
def test_metrics__are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, decided = (np.array(side) for side in zip(*pairs, strict=True))
    everyone = range(4)
    assert np.array_equal(np.array(confusion(RULE, truth, decided)), confusion_matrix(truth, decided, labels=everyone))
    rows = label_facts(RULE, truth, decided)
    counts = multilabel_confusion_matrix(truth, decided, labels=everyone).reshape(-1, 4)
    assert [row.confusion for row in rows] == [tuple(row) for row in counts.tolist()]
    expected = np.array(precision_recall_fscore_support(truth, decided, labels=everyone, zero_division=np.nan))
    found = np.array([[row.precision, row.recall, row.f1, row.positives] for row in rows], float).T
    np.testing.assert_array_equal(found, expected)
    present = np.unique(truth)
    *_, f1, _ = precision_recall_fscore_support(truth, decided, labels=present, average="macro", zero_division=0)
    assert macro_f1(rows) == pytest.approx(f1, abs=1e-15)


def test_macro_f1__mean_over_the_labels_there_are() -> None:
    assert macro_f1(label_facts(RULE, TRUTH, PREDICTED)) == pytest.approx((4 / 7 + 1 / 2 + 4 / 5) / 3)
    assert macro_f1(label_facts(RULE, np.array([0, 1]), np.array([0, 0]))) == pytest.approx((2 / 3 + 0) / 2)
    assert macro_f1(label_facts(RULE, np.array([0, 0]), np.array([0, 0]))) == 1


def test_macro_f1__of_sets_over_the_labels_there_are() -> None:
    assert macro_f1(label_facts(SETS, SET_TRUTH, SET_DECIDED)) == pytest.approx((0.8 + 0) / 2)
    assert macro_f1(label_facts(SETS, SET_TRUTH[2:4], SET_DECIDED[2:4])) is None


def test_against_baseline__counts_images_on_which_one_alone_is_right() -> None:
    truth = np.array([0, 1, 2, 3, 0, 1])
    student, plain = np.array([0, 1, 2, 0, 0, 2]), np.array([0, 0, 0, 3, 0, 2])
    found = against_baseline(RULE, truth, student, plain, 0.95)
    assert found.accuracy.count == 3
    assert (found.gain.gained, found.gain.lost, found.gain.n) == (2, 1, 6)
    assert found.gain.rate == pytest.approx(1 / 6)
    assert found.gain.lower < 0 < found.gain.upper


SEVERITY = np.array([0, 0, 1, 2, 3, 3, 3, 2])
SAID = np.array([0, 2, 0, 2, 1, 2, 0, 2])
SCALES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30)


def test_under_call__only_what_is_too_mild_by_so_many_steps() -> None:
    assert under_call(SEVERITY, SAID, 1) == Proportion(4, 8)
    assert under_call(SEVERITY, SAID, 2) == Proportion(2, 8)
    assert under_call(SAID, SEVERITY, 1) == Proportion(1, 8)


def test_quadratic_kappa__by_hand() -> None:
    """Two raters, two labels: 4 squared steps observed of 8; by chance 6/8 · 5/8 + 2/8 · 3/8 of 1."""
    truth, decided = np.array([0, 0, 0, 1, 1, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 1, 1, 0])
    chance = (3 / 8) * (5 / 8) + (5 / 8) * (3 / 8)
    assert quadratic_kappa(truth, decided) == pytest.approx(1 - (2 / 8) / chance)


@settings(max_examples=50, deadline=None)
@given(SCALES)
def test_quadratic_kappa__is_one_minus_observed_over_chance(pairs: list[tuple[int, int]]) -> None:
    truth, decided = (np.array(side) for side in zip(*pairs, strict=True))
    chance = ((truth[:, None] - decided[None, :]) ** 2).mean()
    if chance == 0:
        assert quadratic_kappa(truth, decided) is None
    else:
        assert quadratic_kappa(truth, decided) == pytest.approx(1 - ((truth - decided) ** 2).mean() / chance)
        library = cohen_kappa_score(truth, decided, labels=range(4), weights="quadratic")
        assert quadratic_kappa(truth, decided) == pytest.approx(library)


def test_ordinal_facts__of_both_sides() -> None:
    facts = ordinal_facts(SEVERITY, SAID, 4, 0.9)
    assert facts.mean_absolute_error == (0 + 2 + 1 + 0 + 2 + 1 + 3 + 0) / 8
    assert facts.under_call == {1: Proportion(4, 8).with_interval(0.9), 2: Proportion(2, 8).with_interval(0.9)}
    assert facts.over_call == {1: Proportion(1, 8).with_interval(0.9), 2: Proportion(1, 8).with_interval(0.9)}


def test_ordinal_facts__two_labels_are_never_two_steps_apart() -> None:
    facts = ordinal_facts(np.array([0, 1]), np.array([0, 1]), 2, 0.9)
    assert set(facts.under_call) == set(facts.over_call) == {1}
