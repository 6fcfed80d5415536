import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from data.bounds import images_needed, most_exceptions
from data.labels import LabelSet
from export.points.config import DecisionConfig, PointConfig
from export.points.fit import FittedPoint, fit_points, fpr_threshold, recall_threshold, require_enough, truth_of
from export.points.record import FileRule, ThresholdsRecord
from models.decision import DecisionRule
from run.errors import UserError
from tests.support import FOUR

NOMINAL = LabelSet(("a", "b", "c"), "nominal")
SETS = LabelSet(("a", "b", "c"), "multilabel")


def asked(*points: PointConfig) -> DecisionConfig:
    return DecisionConfig(method="levels" if points[0].level else "argmax", points=points)


RECALL = PointConfig(label="b", recall=0.9)
BOTH = PointConfig(label="b", recall=0.9, fpr=0.3)


@pytest.mark.parametrize(
    ("recall", "needed"),
    [
        (0.8, (14, 19, 25)),
        (0.9, (29, 39, 53)),
        (0.95, (59, 80, 107)),
        (0.99, (299, 408, 546)),
        (0.999, (2995, 4093, 5478)),
    ],
)
def test_positives_needed__without_a_miss(recall: float, needed: tuple[int, ...]) -> None:
    """For one point, for three and for twelve."""
    for points, count in zip((1, 3, 12), needed, strict=True):
        risk = 0.05 / points
        assert images_needed(1 - recall, 1 - risk) == count
        assert most_exceptions(count, 1 - recall, risk) == 0
        assert most_exceptions(count - 1, 1 - recall, risk) == -1


def test_most_exceptions__of_the_demo() -> None:
    """77 of 264 calibration images are positive: 3 misses for a recall of 90 %; 11 of 187 others for an FPR of 10 %."""
    assert most_exceptions(77, 0.1, 0.05) == 3
    assert most_exceptions(187, 0.1, 0.05) == 11
    assert most_exceptions(77, 0.01, 0.05) == -1


def test_recall_threshold__misses_as_many_as_are_allowed() -> None:
    scores = np.random.default_rng(0).random(77).astype(np.float32)
    threshold = recall_threshold(scores, 0.9, 0.05)
    assert threshold is not None
    assert (scores < np.float32(threshold)).sum() == 3
    assert recall_threshold(scores, 0.99, 0.05) is None


def test_fpr_threshold__flags_as_many_as_are_allowed() -> None:
    scores = np.random.default_rng(0).random(187).astype(np.float32)
    threshold = fpr_threshold(scores, 0.1, 0.05)
    assert threshold is not None
    assert (scores >= np.float32(threshold)).sum() == 11
    tied = np.full(187, 0.25, np.float32)
    above = fpr_threshold(tied, 0.1, 0.05)
    assert above is not None
    assert not (tied >= np.float32(above)).any(), "images of one score are flagged together or not at all"
    assert fpr_threshold(scores[:28], 0.1, 0.05) is None


@pytest.mark.parametrize("n", [29, 77, 250])
def test_thresholds__break_their_promise_five_percent_of_the_time(n: int) -> None:
    """Scores are uniform: a threshold is the share of positives below it, and 1 - threshold that of negatives above."""
    draws = np.random.default_rng(1).random((3000, n)).astype(np.float32)
    misses = np.array([recall_threshold(row, 0.9, 0.05) for row in draws], np.float64)
    alarms = 1 - np.array([fpr_threshold(row, 0.1, 0.05) for row in draws], np.float64)
    chance = binom.cdf(most_exceptions(n, 0.1, 0.05), n, 0.1)
    for broken in (misses, alarms):
        assert (broken > 0.1).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 3000)
        assert (broken > 0.1).mean() == pytest.approx(chance, abs=0.015), "and no rarer than it has to"
    if n == 77:
        empirical = np.sort(draws, axis=1)[:, int(0.1 * n)]
        assert (empirical > 0.1).mean() > 0.4, "the empirical quantile breaks it about half of the time"


def three(count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities and one-hot targets of three labels that are told apart fairly well."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 3, count)
    logits = generator.normal(0, 1, (count, 3)) + 2.5 * np.eye(3)[truth]
    exponents = np.exp(logits)
    return (exponents / exponents.sum(1, keepdims=True)).astype(np.float32), np.eye(3, dtype=np.float32)[truth]


def test_fit_points__both_sides_hold_and_the_threshold_lies_between() -> None:
    probabilities, targets = three(600)
    (recall,), (fpr,), (both,) = (
        fit_points(DecisionRule.of(NOMINAL), asked(point), probabilities, targets, "x")
        for point in (RECALL, PointConfig(label="b", fpr=0.3), BOTH)
    )
    assert fpr.threshold < both.threshold < recall.threshold
    assert both.positives + both.negatives == 600
    assert both.missed <= most_exceptions(both.positives, 0.1, 0.025)
    assert both.flagged <= most_exceptions(both.negatives, 0.3, 0.025)


def test_fit_points__a_fitted_rule_flags_what_the_fit_counted() -> None:
    probabilities, targets = three(600)
    for labels in (NOMINAL, SETS, LabelSet(NOMINAL.names, "ordinal")):
        points = [PointConfig(label="c", recall=0.9), PointConfig(label="b", recall=0.8)]
        if labels.kind == "ordinal":
            points = [replace(point, label=None, level=point.label) for point in points]
        wanted = asked(*points)
        base = wanted.rule(labels)
        found = fit_points(base, wanted, probabilities, targets, "x")
        rule = base.with_points([point.point for point in found])
        flags = rule.flags(probabilities)
        for index, point in enumerate(found):
            truth = truth_of(labels, targets, point.name)
            assert (point.positives, point.missed) == (truth.sum(), (truth & ~flags[:, index]).sum())
            assert (point.negatives, point.flagged) == ((~truth).sum(), (~truth & flags[:, index]).sum())


def test_fit_points__more_points_leave_fewer_misses() -> None:
    probabilities, targets = three(600)
    others = [PointConfig(label=name, recall=0.8) for name in "ac"]
    (alone,) = fit_points(DecisionRule.of(NOMINAL), asked(RECALL), probabilities, targets, "x")
    together = fit_points(DecisionRule.of(NOMINAL), asked(RECALL, *others), probabilities, targets, "x")[0]
    assert together.threshold < alone.threshold
    assert together.missed == most_exceptions(alone.positives, 0.1, 0.05 / 3) < alone.missed


def test_fit_points__promises_that_no_threshold_keeps() -> None:
    probabilities, targets = three(600)
    impossible = asked(replace(BOTH, recall=0.97, fpr=0.02))
    with pytest.raises(
        UserError, match=r"^model\.onnx: no threshold keeps recall ≥ 0\.97 and fpr ≤ 0\.02 of 'b' .* other images"
    ):
        fit_points(DecisionRule.of(NOMINAL), impossible, probabilities, targets, "model.onnx")
    sure = np.ones_like(probabilities)
    with pytest.raises(UserError, match="its scores reach 1 for too many other images"):
        fit_points(DecisionRule.of(SETS), asked(PointConfig(label="b", fpr=0.1)), sure, targets, "model.onnx")


def test_require_enough__says_what_it_takes_and_what_can_be_shown() -> None:
    targets = np.eye(4, dtype=np.float32)[[0] * 187 + [3] * 77]
    require_enough(FOUR, targets, asked(PointConfig(level=FOUR.names[3], recall=0.95)))
    with pytest.raises(UserError) as raised:
        require_enough(FOUR, targets, asked(PointConfig(level=FOUR.names[3], recall=0.99)))
    said = str(raised.value)
    assert said.startswith("verify.operating_points[0].recall: to promise recall ≥ 0.99 of")
    assert "needs 299 positives in the calibration split" in said
    assert "there are 77; the best that can be shown with them is recall ≥ 0.962" in said
    with pytest.raises(UserError, match=r"needs 368 negatives .* there are 187; .* is fpr ≤ 0\.020"):
        require_enough(FOUR, targets, asked(PointConfig(level=FOUR.names[3], recall=0.9, fpr=0.01)))
    two = asked(*(PointConfig(level=FOUR.names[k], recall=0.95) for k in (2, 3)))
    with pytest.raises(UserError, match=r"for 2 points together needs 72 positives .* there are 0"):
        require_enough(FOUR, targets[:187], two)


def test_fitted_point__provable_and_useless_is_called_that() -> None:
    """The demo's: recall of 90 % at a share of 87 % of all others."""
    point = FittedPoint(
        name="defective",
        threshold=0.1026,
        recall=0.9,
        confidence=0.95,
        positives=77,
        missed=3,
        negatives=187,
        flagged=162,
    )
    assert str(point) == (
        "'defective' from 0.1026 on: flags 96.1% of 77 calibration images of it, and 86.6% of 187 others: provable and "
        "useless"
    )
    assert not replace(point, threshold=0.557, missed=46, flagged=11).useless


def test_thresholds_record__gives_back_rules_and_their_images(tmp_path: Path) -> None:
    probabilities, targets = three(600)
    points = fit_points(DecisionRule.of(NOMINAL), asked(RECALL), probabilities, targets, "x")
    rule = DecisionRule.of(NOMINAL).with_points([point.point for point in points])
    files = {"onnx/model.onnx": FileRule(rule, points), "rgb.onnx": FileRule(DecisionRule.of(NOMINAL))}
    record = ThresholdsRecord(labels=NOMINAL, files=files)
    record.write(tmp_path)
    assert ThresholdsRecord.read(tmp_path) == record
    stored = json.loads((tmp_path / "thresholds.json").read_text())["files"]["onnx/model.onnx"]
    assert stored["method"] == "argmax"
    assert stored["points"][0]["positives"] + stored["points"][0]["negatives"] == 600
