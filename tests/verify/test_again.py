import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from data.labels import LabelSet
from models.decision import DecisionRule
from tests.support import FOUR
from verify.again import measure_again

RULE = DecisionRule.of(FOUR)
GENERATOR = np.random.default_rng(3)
TRUTH = GENERATOR.integers(0, 4, 200)
SAID = np.where(GENERATOR.random(200) < 0.7, TRUTH, GENERATOR.integers(0, 4, 200))


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_measure_again__averages_are_those_of_scikit_learn(average: str) -> None:
    expected = precision_recall_fscore_support(TRUTH, SAID, average=average)
    for kind, value in zip(("precision", "recall", "f1"), expected, strict=False):
        found = measure_again(f"{average} {kind}", RULE, TRUTH, SAID, 0.95)
        assert found.value == pytest.approx(value)
        assert found.lower < found.value < found.upper
        assert found.upper - found.lower < 0.2


def test_measure_again__shares_of_images() -> None:
    accuracy = measure_again("accuracy", RULE, TRUTH, SAID, 0.95)
    assert (accuracy.value, accuracy.n) == ((TRUTH == SAID).mean(), 200)
    inside = TRUTH == 3
    recall = measure_again("recall:broken", RULE, TRUTH, SAID, 0.95)
    assert (recall.value, recall.n) == ((SAID[inside] == 3).mean(), inside.sum())
    assert measure_again("precision:broken", RULE, TRUTH, SAID, 0.95).n == (SAID == 3).sum()
    # Right about whether it is anything at all, as cards of content filters count.
    assert measure_again("binary:broken", RULE, TRUTH, SAID, 0.95).value == (SAID[inside] > 0).mean()
    sound = TRUTH == 0
    assert measure_again("binary:sound", RULE, TRUTH, SAID, 0.95).value == (SAID[sound] == 0).mean()


def test_measure_again__several_labels_an_image() -> None:
    rule = DecisionRule.of(LabelSet(("a", "b"), "multilabel"))
    truth = np.array([[True, False], [True, True], [False, False]])
    said = np.array([[True, False], [True, False], [False, False]])
    assert measure_again("accuracy", rule, truth, said, 0.95).value == pytest.approx(2 / 3)
    assert measure_again("micro f1", rule, truth, said, 0.95).value == pytest.approx(0.8)
