import json

import numpy as np
import pytest

from data.labels import LabelSet
from tests.support import FOUR
from verify.metrics import against_baseline, agreement, by_label, closeness, macro_f1, majority, per_class, quality
from verify.statistics import Proportion, proportion_json

TRUTH = np.array([0, 0, 0, 0, 1, 1, 3, 3])
PREDICTED = np.array([0, 0, 1, 3, 1, 0, 3, 3])


def test_agreement__counts_equal_choices() -> None:
    assert agreement(TRUTH, PREDICTED) == Proportion(5, 8)
    assert agreement(TRUTH, TRUTH) == Proportion(8, 8)


def test_majority__the_most_frequent_label() -> None:
    assert majority(TRUTH, FOUR) == {"label": "sound", "count": 4, "n": 8, "rate": 0.5}
    assert majority(np.array([3]), FOUR) == {"label": "broken", "count": 1, "n": 1, "rate": 1.0}


def test_confusion__true_labels_are_rows() -> None:
    assert by_label(TRUTH, PREDICTED, FOUR)["confusion"] == [[2, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]]


def test_per_class__by_hand() -> None:
    rows = json.loads(json.dumps(per_class(TRUTH, PREDICTED, FOUR), allow_nan=False))
    assert [row["label"] for row in rows] == list(FOUR.names)
    assert rows[0] == {
        "label": "sound",
        "n": 4,
        "precision": pytest.approx(2 / 3),
        "recall": 0.5,
        "f1": pytest.approx(4 / 7),
    }
    assert rows[1] == {"label": "doubtful", "n": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert rows[3] == {
        "label": "broken",
        "n": 2,
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
        "f1": pytest.approx(0.8),
    }


def test_per_class__a_label_that_the_test_split_lacks() -> None:
    rows = json.loads(json.dumps(per_class(TRUTH, PREDICTED, FOUR), allow_nan=False))
    assert rows[2] == {"label": "likely", "n": 0, "precision": None, "recall": None, "f1": None}


def test_per_class__lacking_but_predicted_and_present_but_never_predicted() -> None:
    rows = json.loads(json.dumps(per_class(np.array([0, 1]), np.array([0, 2]), FOUR), allow_nan=False))
    assert (rows[1]["n"], rows[1]["precision"], rows[1]["recall"]) == (1, None, 0.0)
    assert (rows[2]["n"], rows[2]["precision"], rows[2]["recall"]) == (0, 0.0, None)


def test_macro_f1__mean_over_the_labels_there_are() -> None:
    assert macro_f1(TRUTH, PREDICTED) == pytest.approx((4 / 7 + 1 / 2 + 4 / 5) / 3)
    assert macro_f1(np.array([0, 1]), np.array([0, 0])) == pytest.approx((2 / 3 + 0) / 2)
    assert macro_f1(np.array([0, 0]), np.array([0, 0])) == 1


def test_proportion_json__two_sided() -> None:
    found = Proportion(40, 50)
    assert proportion_json(found, 0.95) == {
        "n": 50,
        "count": 40,
        "rate": 0.8,
        "lower": found.lower(0.975),
        "upper": found.upper(0.975),
        "confidence": 0.95,
    }


SETS = LabelSet(("dog", "cat", "night"), "multilabel")
SET_TRUTH = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0]], bool)
SET_DECIDED = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]], bool)


def test_agreement__of_sets_every_label_counts() -> None:
    assert agreement(SET_TRUTH, SET_DECIDED) == Proportion(2, 5)


def test_majority__the_most_frequent_set() -> None:
    assert majority(SET_TRUTH[:3], SETS)["count"] == 1
    assert majority(SET_TRUTH[[1, 1, 0]], SETS) == {"labels": ["dog", "cat"], "count": 2, "n": 3, "rate": 2 / 3}
    assert majority(SET_TRUTH[2:4], SETS) == {"labels": [], "count": 2, "n": 2, "rate": 1.0}


def test_per_class__of_sets_by_hand() -> None:
    dog, cat, night = json.loads(json.dumps(per_class(SET_TRUTH, SET_DECIDED, SETS), allow_nan=False))
    assert dog == {
        "label": "dog",
        "n": 5,
        "positives": 3,
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(0.8),
        "confusion": [2, 0, 1, 2],
    }
    assert (cat["positives"], cat["precision"], cat["recall"], cat["confusion"]) == (1, 0.0, 0.0, [3, 1, 1, 0])
    assert (night["positives"], night["recall"], night["confusion"]) == (0, None, [5, 0, 0, 0])


def test_by_label__sets_have_no_confusion_matrix() -> None:
    assert set(by_label(SET_TRUTH, SET_DECIDED, SETS)) == {"per_class"}


def test_macro_f1__of_sets_over_the_labels_there_are() -> None:
    assert macro_f1(SET_TRUTH, SET_DECIDED) == pytest.approx((0.8 + 0) / 2)
    assert macro_f1(SET_TRUTH[2:4], SET_DECIDED[2:4]) is None


def test_quality__says_of_each_kind_what_fits_it() -> None:
    assert set(quality(TRUTH, PREDICTED, FOUR, 0.95)) == {"accuracy", "macro_f1", "ordinal"}
    assert set(quality(TRUTH, PREDICTED, LabelSet(FOUR.names, "nominal"), 0.95)) == {"accuracy", "macro_f1"}
    found = quality(SET_TRUTH, SET_DECIDED, SETS, 0.95)
    assert found["accuracy"] == proportion_json(Proportion(2, 5), 0.95)
    assert set(found) == {"accuracy", "macro_f1"}


def test_closeness__of_sets_also_label_by_label() -> None:
    found = closeness(SET_TRUTH, SET_DECIDED, SETS, 0.9)
    assert found["agreement"] == proportion_json(Proportion(2, 5), 0.9)
    assert found["agreement_by_label"] == [
        {"label": "dog", **proportion_json(Proportion(4, 5), 0.9)},
        {"label": "cat", **proportion_json(Proportion(3, 5), 0.9)},
        {"label": "night", **proportion_json(Proportion(5, 5), 0.9)},
    ]
    assert set(closeness(TRUTH, PREDICTED, FOUR, 0.9)) == {"agreement"}


def test_against_baseline__counts_images_on_which_one_alone_is_right() -> None:
    truth = np.array([0, 1, 2, 3, 0, 1])
    student, plain = np.array([0, 1, 2, 0, 0, 2]), np.array([0, 0, 0, 3, 0, 2])
    found = against_baseline(truth, student, plain, 0.95)
    assert found["accuracy"]["count"] == 3  # type: ignore[index,call-overload]
    gain: dict[str, float] = found["gain"]  # type: ignore[assignment]
    assert (gain["gained"], gain["lost"], gain["n"]) == (2, 1, 6)
    assert gain["rate"] == pytest.approx(1 / 6)
    assert gain["lower"] < 0 < gain["upper"]
