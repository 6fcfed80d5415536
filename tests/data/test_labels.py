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
