import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from verify.ordinal import ordinal_facts, quadratic_kappa, under_call
from verify.statistics import Proportion

TRUTH = np.array([0, 0, 1, 2, 3, 3, 3, 2])
DECIDED = np.array([0, 2, 0, 2, 1, 2, 0, 2])
SCALES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30)


def test_under_call__only_what_is_too_mild_by_so_many_steps() -> None:
    assert under_call(TRUTH, DECIDED, 1) == Proportion(4, 8)
    assert under_call(TRUTH, DECIDED, 2) == Proportion(2, 8)
    assert under_call(DECIDED, TRUTH, 1) == Proportion(1, 8)


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
    facts = ordinal_facts(TRUTH, DECIDED, 4, 0.9)
    assert facts.mean_absolute_error == (0 + 2 + 1 + 0 + 2 + 1 + 3 + 0) / 8
    assert facts.under_call == {1: Proportion(4, 8).with_interval(0.9), 2: Proportion(2, 8).with_interval(0.9)}
    assert facts.over_call == {1: Proportion(1, 8).with_interval(0.9), 2: Proportion(1, 8).with_interval(0.9)}


def test_ordinal_facts__two_labels_are_never_two_steps_apart() -> None:
    facts = ordinal_facts(np.array([0, 1]), np.array([0, 1]), 2, 0.9)
    assert set(facts.under_call) == set(facts.over_call) == {1}
