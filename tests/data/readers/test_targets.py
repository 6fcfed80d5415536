from typing import Any

import pytest

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.targets import of_annotators, of_cell, of_columns
from run.errors import UserError
from tests.support import TWO

MANY = LabelSet(("sound", "broken"), "multilabel")
NUMBERED = LabelSet(("0", "1"), "nominal")


@pytest.mark.parametrize(
    ("cell", "labels", "expected"),
    [
        ("broken", TWO, (0.0, 1.0)),
        (["broken"], TWO, (0.0, 1.0)),
        ("a;b", LabelSet(("a;b", "c"), "nominal"), (1.0, 0.0)),
        (1, NUMBERED, (0.0, 1.0)),
        ("sound; broken", MANY, (1.0, 1.0)),
        ("", MANY, (0.0, 0.0)),
        ([], MANY, (0.0, 0.0)),
        (["broken"], MANY, (0.0, 1.0)),
    ],
)
def test_of_cell__names(cell: object, labels: LabelSet, expected: tuple[float, ...]) -> None:
    assert of_cell(cell, labels, SourceConfig(), "") == (expected, None)


@pytest.mark.parametrize(
    ("cell", "labels", "message"),
    [
        (None, TWO, "row 3: no label"),
        (float("nan"), TWO, "no label"),
        ("", TWO, "no label"),
        (None, MANY, "no label .an empty list says that none applies"),
        ("sound;broken", TWO, "label 'sound;broken' is not in labels.names"),
        (["sound", "broken"], TWO, r"2 labels \(sound, broken\), but labels.kind nominal takes exactly one"),
        ([], TWO, "0 labels"),
        (["broken", "broken"], MANY, "stands there twice"),
        ("sound;;broken", MANY, "label ''"),
        ("sound,broken", MANY, "label 'sound,broken'"),
        ("Sound;broken", MANY, "did you mean 'sound'"),
        ([" sound"], MANY, "did you mean 'sound'"),
        (1, TWO, "label 1 is no text: labels go by name .*, never by position"),
        (True, NUMBERED, "is no text"),
        (["sound", 1], MANY, "label 1 is no text"),
    ],
)
def test_of_cell__wrong(cell: object, labels: LabelSet, message: str) -> None:
    with pytest.raises(UserError, match=message):
        of_cell(cell, labels, SourceConfig(), "row 3")


@pytest.mark.parametrize(
    ("hold", "cells", "labels", "target", "votes"),
    [
        ("votes", ["3", 1], TWO, (0.75, 0.25), (3.0, 1.0)),
        ("probabilities", [0.25, 0.75], TWO, (0.25, 0.75), None),
        ("probabilities", [0.5, 0.4995], TWO, (0.5 / 0.9995, 0.4995 / 0.9995), None),
        ("probabilities", [0.9, "0.8"], MANY, (0.9, 0.8), None),
        ("probabilities", [0, 0], MANY, (0.0, 0.0), None),
        ("flags", ["1", "0"], TWO, (1.0, 0.0), None),
        ("flags", [False, True], TWO, (0.0, 1.0), None),
        ("flags", ["True", "false"], TWO, (1.0, 0.0), None),
        ("flags", [1, 1.0], MANY, (1.0, 1.0), None),
        ("flags", [0, 0], MANY, (0.0, 0.0), None),
    ],
)
def test_of_columns__what_they_hold(hold: Any, cells: list[object], labels: LabelSet, target: Any, votes: Any) -> None:
    assert of_columns(cells, labels, SourceConfig(label_columns_hold=hold), "") == (target, votes)


@pytest.mark.parametrize(
    ("hold", "cells", "labels", "message"),
    [
        ("votes", [0, 0], TWO, "row 3: votes .0, 0. must be 0 or more, with one above 0"),
        ("votes", [2, -1], TWO, "must be 0 or more"),
        ("votes", [2, None], TWO, "are not all numbers"),
        ("votes", [2, ""], TWO, "are not all numbers"),
        ("votes", [2, float("nan")], TWO, "must be finite"),
        ("probabilities", [0.5, 0.498], TWO, "sum to 0.998, not to 1"),
        ("probabilities", [1.5, -0.5], TWO, "must lie between 0 and 1"),
        ("probabilities", [0.5, 1.1], MANY, "must lie between 0 and 1"),
        ("probabilities", [float("inf"), 0], MANY, "must be finite"),
        ("flags", [1, 1], TWO, "have 2 ones, but labels.kind nominal takes exactly one"),
        ("flags", [0, 0], TWO, "have 0 ones"),
        ("flags", [0.5, 0.5], MANY, "must each be 0 or 1"),
        ("flags", ["yes", "no"], MANY, "are not all numbers"),
    ],
)
def test_of_columns__wrong(hold: Any, cells: list[object], labels: LabelSet, message: str) -> None:
    with pytest.raises(UserError, match=message):
        of_columns(cells, labels, SourceConfig(label_columns_hold=hold), "row 3")


def test_of_annotators__votes_and_shares() -> None:
    assert of_annotators([["broken"]], TWO, "") == ((0.0, 1.0), None)
    assert of_annotators([["broken"], ["sound"], ["broken"], ["broken"]], TWO, "") == ((0.25, 0.75), (1.0, 3.0))
    assert of_annotators([["broken"], ["broken", "sound"], [], []], MANY, "") == ((0.25, 0.5), None)
    with pytest.raises(UserError, match="2 labels"):
        of_annotators([["broken"], ["sound", "broken"]], TWO, "")
