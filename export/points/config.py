"""Config of the shipped decision: an operating point, and everything that export has to know of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from data.config import LabelsConfig
from data.labels import LabelSet
from models.decision import DecisionRule
from run.config import Require, checking

Method = Literal["argmax", "levels"]


@dataclass(frozen=True, kw_only=True)
class PointConfig:
    """An operating point: images are flagged from a threshold on that keeps ``recall``, ``fpr`` or both."""

    label: str | None = None
    """A label of a nominal or multilabel set: its images are to be flagged."""
    level: str | None = None
    """Instead, a level of an ordinal set: images of this label or a more severe one are to be flagged."""
    recall: float | None = None
    """Least share of those images that has to be flagged."""
    fpr: float | None = None
    """Largest share of all other images that may be flagged."""
    confidence: float = 0.95
    """Of the promise. The risk that is left is divided by the number of points, so that all of them hold together."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            between = "between 0 and 1, or null"
            require("recall", lambda: self.recall is None or 0 < self.recall < 1, between)
            require("fpr", lambda: self.fpr is None or 0 < self.fpr < 1, between)
            require("recall", lambda: (self.recall, self.fpr) != (None, None), "a number, unless fpr is one")
            require("confidence", lambda: 0.5 <= self.confidence < 1, "0.5 or more, and below 1")

    @property
    def name(self) -> str:
        return str(self.label if self.level is None else self.level)

    @property
    def promises(self) -> str:
        sides = [f"recall ≥ {self.recall:g}" if self.recall else "", f"fpr ≤ {self.fpr:g}" if self.fpr else ""]
        return f"{' and '.join(filter(None, sides))} of {self.name!r} with {self.confidence:.4g} confidence"


@dataclass(frozen=True, kw_only=True)
class DecisionConfig:
    """The decision that every file ships with."""

    method: Method
    points: tuple[PointConfig, ...] = ()

    @classmethod
    def of(
        cls, method: Method | None, points: Sequence[PointConfig], labels: LabelsConfig | LabelSet
    ) -> "DecisionConfig":
        """As a config asks for it; by default, points of an ordinal set are thresholds of its levels."""
        by_default: Method = "levels" if points and labels.kind == "ordinal" else "argmax"
        return cls(method=method or by_default, points=tuple(points))

    def rule(self, labels: LabelSet) -> DecisionRule:
        """The rule before any operating point is fitted."""
        return DecisionRule.of_levels(labels) if self.method == "levels" else DecisionRule.of(labels)

    def risk(self, point: PointConfig) -> float:
        """Risk of each side of a point, so that all sides of all points hold together (Bonferroni)."""
        sides = (point.recall is not None) + (point.fpr is not None)
        return (1 - point.confidence) / len(self.points) / sides


def require_decision(
    require: Require, where: str, method: Method | None, points: Sequence[PointConfig], labels: LabelsConfig
) -> None:
    """Check what only the label set can tell.

    Args:
        where: path of the section that has ``decision`` and ``operating_points``.
    """
    ordinal = labels.kind == "ordinal"
    only = f"argmax or null where labels are {labels.kind}: only ordinal labels have levels"
    require(f"{where}.decision", lambda: method != "levels" or ordinal, only)
    with_points = "levels or null, because operating points of ordinal labels are thresholds of their levels"
    require(f"{where}.decision", lambda: not (ordinal and points and method == "argmax"), with_points)
    for index, point in enumerate(points):
        _require_point(require, f"{where}.operating_points[{index}]", point, points[:index], labels)


def _require_point(
    require: Require, path: str, point: PointConfig, before: Sequence[PointConfig], labels: LabelsConfig
) -> None:
    ordinal = labels.kind == "ordinal"
    key, other = ("level", "label") if ordinal else ("label", "level")
    # The mildest level is no level: every image reaches it.
    known = labels.names[ordinal:]
    instead = f"null where labels are {labels.kind}: give {key} instead"
    require(f"{path}.{other}", lambda: getattr(point, other) is None, instead)
    named = f"one of {', '.join(known)}"
    require(f"{path}.{key}", lambda: getattr(point, other) is not None or getattr(point, key) in known, named)
    given = "label" if point.level is None else "level"
    taken = [earlier.name for earlier in before]
    require(f"{path}.{given}", lambda: point.name not in taken, "another one: it has a point already")
