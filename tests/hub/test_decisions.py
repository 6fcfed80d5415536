from dataclasses import replace

from data.labels import LabelSet
from export.points.fit import FittedPoint
from export.points.record import FileRule, ThresholdsRecord
from hub.card import fill
from models.decision import DecisionRule
from tests.support import FOUR

POINT = FittedPoint(
    name=FOUR.names[3], threshold=0.25, recall=0.9, confidence=0.95, positives=77, missed=3, negatives=187, flagged=18
)


def record(rule: DecisionRule, *points: FittedPoint) -> ThresholdsRecord:
    found = FileRule(rule.with_points([point.point for point in points]), points)
    return ThresholdsRecord(labels=rule.labels, files={"onnx/model.onnx": found, "rgb.onnx": found})


def decisions(found: ThresholdsRecord | None) -> str:
    return fill("decisions", thresholds=found)


def test_decisions__points_of_every_file() -> None:
    text = decisions(record(DecisionRule.of_levels(FOUR), POINT))
    row = f"| `{POINT.name}` | 0.25 | 74 of 77 | 18 of 187 | recall of at least 90% with 95.0% confidence |"
    assert f"| `onnx/model.onnx` {row}" in text
    assert f"| `rgb.onnx` {row}" in text
    assert "The answer is the most severe level" in text
    useless = decisions(record(DecisionRule.of_levels(FOUR), replace(POINT, flagged=162)))
    assert "recall of at least 90% with 95.0% confidence; provable and useless |" in useless


def test_decisions__a_point_on_a_label_with_a_bar_keeps_its_cell() -> None:
    odd = DecisionRule.of(LabelSet(("fine", "worn | torn"), "nominal"))
    assert "| `worn \\| torn` | 0.25 |" in decisions(record(odd, replace(POINT, name="worn | torn")))


def test_decisions__nothing_where_the_likeliest_label_is_decided() -> None:
    assert decisions(record(DecisionRule.of(FOUR))) == decisions(None) == ""
    assert "## Decision" in decisions(record(DecisionRule.of_levels(FOUR)))
    nominal = DecisionRule.of(LabelSet(FOUR.names, "nominal"))
    assert "the likeliest of the labels that a point flags" in decisions(record(nominal, POINT))
