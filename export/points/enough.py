"""The number of calibration images that operating points need, checked before any training."""

from typing import Literal

from data.bounds import images_needed, most_exceptions
from data.labels import LabelSet
from data.manifest import Manifest
from export.points.config import DecisionConfig
from export.points.fit import truth_of
from models.decision import Floats
from run.errors import UserError


def fitting_rows(manifest: Manifest) -> Manifest:
    """The calibration images that points are fitted to: one with a truth of each group of duplicates, drawn by hash.

    Raises:
        UserError: no calibration image has a label.
    """
    return manifest.labeled_rows("calibration").with_truth().one_per_group()


def require_enough_images(manifest: Manifest, asked: DecisionConfig) -> None:
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
    risk = asked.risk(asked.points[index])
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
