import re
from typing import Any

import numpy as np
import pytest

from data.config import LabelsConfig
from data.labels import LabelSet
from run.errors import UserError

ORDER = ["safe", "borderline", "abuse"]


def test_of__keeps_the_order_given() -> None:
    labels = LabelSet.of(LabelsConfig(names=ORDER, kind="ordinal"))
    assert labels.names == tuple(ORDER)
    assert [labels.index(name, "row") for name in ORDER] == [0, 1, 2]
    assert len(labels) == 3


@pytest.mark.parametrize(
    ("name", "hint"),
    [("Borderline", "did you mean 'borderline'?"), (" abuse ", "did you mean 'abuse'?"), ("sfae", "mean 'safe'?")],
)
def test_index__suggests_the_nearest_label(name: str, hint: str) -> None:
    with pytest.raises(UserError) as error:
        LabelSet.of(LabelsConfig(names=ORDER)).index(name, "labels.csv, row 7")
    assert str(error.value).startswith(f"labels.csv, row 7: label {name!r} is not in labels.names")
    assert hint in str(error.value)


def test_index__suggests_nothing_where_nothing_is_near() -> None:
    with pytest.raises(UserError) as error:
        LabelSet.of(LabelsConfig(names=ORDER)).index("zebra", "row 1")
    assert "did you mean" not in str(error.value)
    assert str(error.value).endswith("(safe, borderline, abuse). Correct the row, or add the label to labels.names.")


@pytest.mark.parametrize(
    "other",
    [LabelSet(("a", "b"), "ordinal"), LabelSet(("b", "a"), "nominal"), LabelSet(("a", "b", "c"), "nominal")],
)
def test_require_equal__names_order_and_kind_count(other: LabelSet) -> None:
    labels = LabelSet(("a", "b"), "nominal")
    labels.require_equal(LabelSet(("a", "b"), "nominal"), "x")
    assert labels.digest == LabelSet(("a", "b"), "nominal").digest != other.digest
    with pytest.raises(UserError, match="teacher/model was made for the labels"):
        labels.require_equal(other, "teacher/model")


def test_of_json__gives_back_what_to_json_wrote() -> None:
    labels = LabelSet(("a", "b"), "multilabel")
    assert LabelSet.of_json(labels.to_json()) == labels


@pytest.mark.parametrize("names", [3, ["a", 1], ["a", ""], ["a"], ["a", "a"], ["a", "b", "a"]])
def test_of_json__refuses_what_are_no_names(names: object) -> None:
    with pytest.raises(ValueError, match="label names"):
        LabelSet.of_json({"names": names, "kind": "nominal"})


def test_index__however_accents_are_written() -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    assert LabelSet(("tea", composed), "nominal").index(apart, "row 1") == 1
    assert LabelSet(("tea", apart), "nominal").index(composed, "row 1") == 1


@pytest.mark.parametrize(
    ("name", "like"), [(" CAFE\u0301 ", True), ("caf\u00e9", True), ("cafe", False), ("tea room", False)]
)
def test_resembles__takes_no_notice_of_case_accents_and_spaces(name: str, like: bool) -> None:
    assert LabelSet(("tea", "Caf\u00e9"), "nominal").resembles(name) is like


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"costs": [[0, 1], [1, 0]]}, "it must be 3 rows, one per true label, of 3 numbers"),
        ({"costs": [[0, 1, 1], [1, 0, 1], [1, 0]]}, "it must be 3 rows"),
        ({"costs": [[0, 1, 1], [1, 0, 1], [1, -1, 0]]}, "it must be free of negative and infinite costs"),
        ({"costs": [[0, 1, 1], [1, 0, float("nan")], [1, 1, 0]]}, "it must be free of negative and infinite costs"),
        ({"costs": [[0, 1, 1], [1, 0, 1], [1, 1, 1]]}, "it must be 0 where the label said is the true one"),
        ({"costs": [[0, 1, 1]] * 3, "kind": "multilabel"}, "it must be null where kind is multilabel"),
    ],
)
def test_labels_config__refuses_costs_that_make_no_sense(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^costs is .*; {re.escape(message)}"):
        LabelsConfig(names=ORDER, **wrong)


def test_labels_config__costs_are_no_part_of_the_label_set() -> None:
    costs = [[0.0, 1.0, 2.0], [3.0, 0.0, 1.0], [9.0, 4.0, 0.0]]
    with_costs = LabelSet.of(LabelsConfig(names=ORDER, kind="ordinal", costs=costs))
    assert with_costs == LabelSet.of(LabelsConfig(names=ORDER, kind="ordinal"))


def test_index__a_message_shows_so_many_labels_and_counts_the_rest() -> None:
    names = [f"label {number}" for number in range(21)]
    for count, shown in ((20, "label 18, label 19)"), (21, "label 18, label 19, … 21 in all)")):
        with pytest.raises(UserError) as error:
            LabelSet.of(LabelsConfig(names=names[:count])).index("zebra", "row 1")
        assert shown in str(error.value)
        assert "label 20" not in str(error.value)


def test_require_equal__says_what_both_sides_have() -> None:
    with pytest.raises(UserError) as error:
        LabelSet(("a", "b"), "nominal").require_equal(LabelSet(("b", "a"), "ordinal"), "the teacher")
    assert "the teacher was made for the labels ['b', 'a'] (ordinal), this run has ['a', 'b'] (nominal)" in str(
        error.value
    )


def test_to_json__is_what_files_carry() -> None:
    assert LabelSet(("a", "b"), "ordinal").to_json() == {"names": ("a", "b"), "kind": "ordinal"}


def test_truth__of_tied_votes_there_is_none() -> None:
    half = np.array([[0.5, 0.5, 0], [0.2, 0.3, 0.5], [1 / 3, 1 / 3, 1 / 3], [0, 0.4, 0.6]], np.float32)
    for kind in ("nominal", "ordinal"):
        labels = LabelSet(("a", "b", "c"), kind)
        known = labels.has_truth(half)
        assert known.tolist() == [False, True, False, True]
        assert labels.truth(half[known]).tolist() == [2, 2]
        with pytest.raises(AssertionError, match="tie"):
            labels.truth(half)
    sets = LabelSet(("a", "b", "c"), "multilabel")
    assert sets.has_truth(half).tolist() == [False, False, True, True]
    assert sets.truth(half[2:]).tolist() == [[False, False, False], [False, False, True]]
