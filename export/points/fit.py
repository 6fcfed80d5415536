"""Thresholds that keep a promise, by the exact order-statistic rule, and whether enough images are there for one.

Of n scores that are independent draws, the (m + 1)-th smallest has at least the share ρ of all scores above it with
confidence 1 - δ, if m or fewer successes of n draws at rate 1 - ρ have a chance of at most δ (Wilks 1941; a one-sided
tolerance bound without any assumption on the distribution). Nothing that a score depends on may be fitted to the same
images. Choosing the empirical quantile instead breaks its promise about half of the time.
"""

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from data.bounds import images_needed, most_exceptions
from data.labels import LabelSet
from export.points.config import DecisionConfig, PointConfig
from models.decision import DecisionRule, Floats, Point
from run.errors import UserError

if TYPE_CHECKING:  # it takes pyarrow, and `page` reads the record of points without it
    from data.manifest import Manifest

USELESS = 0.2
"""Where the flagged shares of positives and of negatives are closer to each other than this, a point tells them hardly
apart, whatever it promises."""


@dataclass(frozen=True, kw_only=True)
class FittedPoint(Point):
    """An operating point, and the calibration images that its threshold comes from."""

    positives: int
    """Images of the label, or level."""
    missed: int
    """Of these, not flagged."""
    negatives: int
    flagged: int
    """Of these."""

    @property
    def point(self) -> Point:
        return Point(**{field.name: getattr(self, field.name) for field in fields(Point)})

    @property
    def useless(self) -> bool:
        """Provable, and of no use: it flags others nearly as often."""
        return tells_nothing(1 - self.missed / self.positives, self.flagged / self.negatives)

    def __str__(self) -> str:
        recall = 1 - self.missed / self.positives
        fpr = self.flagged / self.negatives
        useless = ": provable and useless" if self.useless else ""
        return (
            f"{self.name!r} from {self.threshold:.4g} on: flags {recall:.1%} of {self.positives:,} calibration images "
            f"of it, and {fpr:.1%} of {self.negatives:,} others{useless}"
        )


def tells_nothing(recall: float, fpr: float) -> bool:
    """True where a point flags others nearly as often as what it is for."""
    return recall - fpr < USELESS


def recall_threshold(positives: NDArray[np.float32], recall: float, risk: float) -> float | None:
    """The highest threshold that flags at least the share ``recall`` of all positives; null where none can be shown.

    Args:
        positives: scores of independent draws [n].
        risk: chance that the threshold does not keep it.
    """
    allowed = most_exceptions(len(positives), 1 - recall, risk)
    return None if allowed < 0 else float(np.sort(positives)[allowed])


def fpr_threshold(negatives: NDArray[np.float32], fpr: float, risk: float) -> float | None:
    """The lowest threshold that flags at most the share ``fpr`` of all negatives; null where none can be shown."""
    allowed = most_exceptions(len(negatives), fpr, risk)
    if allowed < 0:
        return None
    # Just above the first one that may not be flagged.
    return float(np.nextafter(np.sort(negatives)[::-1][allowed], np.float32(np.inf), dtype=np.float32))


def truth_of(labels: LabelSet, targets: Floats, name: str) -> NDArray[np.bool_]:
    """Images [N] that an operating point of this name is to flag; their targets [N, C] all have a truth."""
    truth = labels.truth(targets)
    index = labels.names.index(name)
    if labels.kind == "multilabel":
        return np.asarray(truth[:, index], np.bool_)
    return np.asarray(truth >= index if labels.kind == "ordinal" else truth == index)


def fitting_rows(manifest: "Manifest") -> "Manifest":
    """The calibration images that points are fitted to: one with a truth of each group of duplicates, drawn by hash.

    Raises:
        UserError: no calibration image has a label.
    """
    return manifest.labeled_rows("calibration").with_truth().one_per_group()


def require_enough_images(manifest: "Manifest", asked: DecisionConfig) -> None:
    """Refuse operating points that the calibration split cannot show; nothing is trained before."""
    if asked.points:
        require_enough(manifest.labels, fitting_rows(manifest).targets(), asked)


def require_enough(labels: LabelSet, targets: Floats, asked: DecisionConfig) -> None:
    """Refuse points for which the calibration split has too few images, whatever the scores.

    Args:
        targets: of independent calibration images with a truth [N, C].
    """
    for index, point in enumerate(asked.points):
        positives = int(truth_of(labels, targets, point.name).sum())
        _require_side(asked, index, "recall", point.recall, positives)
        _require_side(asked, index, "fpr", point.fpr, len(targets) - positives)


def _require_side(
    asked: DecisionConfig, index: int, key: Literal["recall", "fpr"], promised: float | None, n: int
) -> None:
    if promised is None:
        return
    point = asked.points[index]
    risk = asked.risk(point)
    side, limit = ("positives", 1 - promised) if key == "recall" else ("negatives", promised)
    if most_exceptions(n, limit, risk) >= 0:
        return
    # Without a single exception, n images show a rate of risk^(1/n).
    best = risk ** (1 / n) if n else 0.0
    shown = f"recall ≥ {best:.3f}" if key == "recall" else f"fpr ≤ {1 - best:.3f}"
    shared = f" for {len(asked.points)} points together" if len(asked.points) > 1 else ""
    raise UserError(
        f"verify.operating_points[{index}].{key}: to promise {point.promises}{shared} needs "
        f"{images_needed(limit, 1 - risk):,} {side} in the calibration split, one of each group of duplicates, and "
        f"there are {n:,}; the best that can be shown with them is {shown}. Raise data.splits.calibration, or promise "
        "less"
    )


def fit_points(
    rule: DecisionRule, asked: DecisionConfig, probabilities: NDArray[np.float32], targets: Floats, file: str
) -> tuple[FittedPoint, ...]:
    """Fit every point to one file's own scores.

    Args:
        probabilities: that the file gives on independent calibration images with a truth [N, C].
        targets: of these images [N, C].
        file: its name, for messages.

    Raises:
        UserError: no threshold keeps a point's promises.
    """
    scores = rule.scores(probabilities)
    return tuple(
        _fit_point(point, asked.risk(point), scores[:, rule.column(point.name)], found, file)
        for point in asked.points
        for found in [truth_of(rule.labels, targets, point.name)]
    )


def _fit_point(
    point: PointConfig, risk: float, scores: NDArray[np.float32], truth: NDArray[np.bool_], file: str
) -> FittedPoint:
    positives = scores[truth]
    negatives = scores[~truth]
    most = 1.0 if point.recall is None else recall_threshold(positives, point.recall, risk)
    least = 0.0 if point.fpr is None else fpr_threshold(negatives, point.fpr, risk)
    assert most is not None and least is not None, "require_enough comes first"  # noqa: PT018
    if least > most:
        raise UserError(f"{file}: no threshold keeps {point.promises}: {_why(point, most, scores, truth)}")
    # Any threshold from one to the other keeps both: the middle leaves room on both sides.
    threshold = most if point.fpr is None else least if point.recall is None else float(np.float32((most + least) / 2))
    return FittedPoint(
        name=point.name,
        threshold=threshold,
        recall=point.recall,
        fpr=point.fpr,
        confidence=point.confidence,
        positives=len(positives),
        missed=int((positives < np.float32(threshold)).sum()),
        negatives=len(negatives),
        flagged=int((negatives >= np.float32(threshold)).sum()),
    )


def _why(point: PointConfig, most: float, scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> str:
    if point.recall is None:
        return "its scores reach 1 for too many other images"
    fpr = float((scores[~truth] >= np.float32(most)).mean())
    return f"from {most:.4g} on, where recall is kept, it flags {math.ceil(1000 * fpr) / 10:g}% of other images"
