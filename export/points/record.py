"""The record of what each file decides, ``thresholds.json``: rules, operating points and the images they come from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from data.labels import LabelSet
from export.points.fit import FittedPoint
from export.records import Record, record_of
from models.decision import DecisionRule
from run.files import Json


@dataclass(frozen=True)
class FileRule:
    """The rule that one file ships with, and how its points were found."""

    rule: DecisionRule
    points: tuple[FittedPoint, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ThresholdsRecord(Record):
    """The rules of all files of one model; each has thresholds of its own."""

    FILE: ClassVar[str] = "thresholds.json"

    labels: LabelSet
    files: Mapping[str, FileRule]
    """By path inside the ONNX folder."""

    def to_json(self) -> dict[str, Json]:
        """Labels, then each file's rule, with what its points were fitted on."""
        files: dict[str, Json] = {
            name: {**found.rule.to_json(), "points": [asdict(point) for point in found.points]}
            for name, found in self.files.items()
        }
        return {"labels": self.labels.to_json(), "files": files}

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> Self:
        labels = LabelSet.of_json(stored["labels"])
        return cls(labels=labels, files={name: _file_rule(labels, one) for name, one in stored["files"].items()})


def _file_rule(labels: LabelSet, stored: Mapping[str, Any]) -> FileRule:
    points = tuple(record_of(FittedPoint, point) for point in stored["points"])
    rule = DecisionRule(labels, tuple(map(float, stored["thresholds"])), tuple(point.point for point in points))
    return FileRule(rule, points)
