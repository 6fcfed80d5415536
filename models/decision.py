"""The decision rule: from logits to probabilities to what a model says of an image. No torch here.

Exactly one nominal or ordinal label applies to an image: softmax, and the likeliest label is decided; an ordinal set
may instead decide the most severe level whose score reaches its threshold. Each label of a multilabel set applies or
not by itself: a sigmoid each, and every label at or above its threshold is decided. Targets are read in the same way as
probabilities.

Operating points are thresholds with a promise, fitted to one file's own scores (``export.points``).

Whatever says what a model decides asks this rule: training's accuracy, the INT8 gate, the golden kit, verification and
``predict``. It travels in the metadata of every ONNX file.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.labels import LabelSet
from run.files import Json

Floats = NDArray[np.floating]
Decisions = NDArray[np.intp] | NDArray[np.bool_]
"""Label indices [N] where labels exclude each other, else which labels apply [N, C]."""

DEFAULT_THRESHOLD = 0.5
"""Score from which on a label of a multilabel set applies, or a level is reached, unless another was fitted."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """An operating point: an image is flagged where its score is at or above the threshold."""

    name: str
    """The label; in an ordinal set the level, which is this label or a more severe one."""
    threshold: float
    recall: float | None = None
    """Least share of the images of this label, or level, that is flagged: promised with ``confidence``."""
    fpr: float | None = None
    """Largest share of all other images that is flagged: promised with ``confidence``."""
    confidence: float
    """Of this point alone; the risk that is left is divided by the number of points for all to hold together."""


@dataclass(frozen=True)
class DecisionRule:
    """A label set, and the thresholds that scores have to reach.

    Args:
        thresholds: one probability per label of a multilabel set. In an ordinal set one score per level but the
            mildest, which then says what is decided. Empty where the likeliest label is decided.
        points: operating points. In an ordinal or multilabel set, thresholds of theirs are among ``thresholds``. In a
            nominal set, a flagged label is decided even where it is not the likeliest, and one that is not flagged
            never is; of several flagged ones, the likeliest.

    Raises:
        ValueError: the thresholds do not fit the label set, or the points do not fit the thresholds.

    Example:
        >>> rule = DecisionRule.of(LabelSet(("cat", "dog"), "nominal"))
        >>> rule.decide(rule.probabilities(np.array([[2.0, 0.0]]))).tolist()
        [0]
    """

    labels: LabelSet
    thresholds: tuple[float, ...]
    points: tuple[Point, ...] = ()

    @classmethod
    def of(cls, labels: LabelSet) -> "DecisionRule":
        """The default rule of a label set: the likeliest label, or every label from ``DEFAULT_THRESHOLD`` on."""
        return cls(labels, () if labels.exclusive else (DEFAULT_THRESHOLD,) * len(labels))

    @classmethod
    def of_levels(cls, labels: LabelSet) -> "DecisionRule":
        """The rule of an ordinal set by which the most severe level from ``DEFAULT_THRESHOLD`` on is decided."""
        return cls(labels, (DEFAULT_THRESHOLD,) * (len(labels) - 1))

    def __post_init__(self) -> None:
        allowed = {"nominal": (0,), "ordinal": (0, len(self.labels) - 1), "multilabel": (len(self.labels),)}
        counts = allowed[self.labels.kind]
        values = [*self.thresholds, *(point.threshold for point in self.points)]
        if len(self.thresholds) not in counts or not all(0 <= threshold <= 1 for threshold in values):
            expected = " or ".join(map(str, counts))
            raise ValueError(f"expected {expected} thresholds between 0 and 1, found {values}")
        if not all(point.threshold == self._threshold(point) for point in self.points):
            raise ValueError(f"operating points {self.points} contradict the thresholds {self.thresholds}")

    @property
    def exclusive(self) -> bool:
        """True where exactly one label applies to each image."""
        return self.labels.exclusive

    @property
    def method(self) -> str:
        """``argmax``, ``levels`` (the most severe whose score reaches its threshold) or ``threshold``."""
        return "threshold" if not self.exclusive else "levels" if self.thresholds else "argmax"

    @property
    def activation(self) -> str:
        """``softmax`` or ``sigmoid``, for texts."""
        return "softmax" if self.exclusive else "sigmoid"

    @property
    def answer(self) -> str:
        """The thing in which two models agree or differ, for texts."""
        return "decision" if self.exclusive else "set of labels"

    def with_points(self, points: Sequence[Point]) -> "DecisionRule":
        """This rule, with its thresholds at these operating points.

        In an ordinal set, levels without a point that are more severe than one with a point get at least its threshold:
        else an image that it does not flag could be decided to be worse.

        Raises:
            ValueError: an ordinal set has no thresholds, or a more severe level's threshold is below that of a point
                that promises few false alarms: then neither promise can be kept.
        """
        given = {self.column(point.name): point.threshold for point in points}
        thresholds = list(self.thresholds)
        if self.method == "threshold":
            thresholds = [given.get(index, threshold) for index, threshold in enumerate(thresholds)]
        elif self.method == "levels":
            for index, threshold in enumerate(thresholds, 1):
                milder = [point for point in points if self.column(point.name) < index]
                least = max((point.threshold for point in milder), default=0.0)
                thresholds[index - 1] = given.get(index, max(threshold, least))
                if any(point.fpr is not None and point.threshold > thresholds[index - 1] for point in milder):
                    raise ValueError(f"operating points contradict each other: {points}")
        return replace(self, thresholds=tuple(thresholds), points=tuple(points))

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Softmax over the labels, or a sigmoid each [..., C]; the temperature is already in the head's weights."""
        result: NDArray[np.float32] = _softmax(logits) if self.exclusive else _expit(logits)
        return result

    def logits(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Finite logits [..., C] that give these probabilities; NaN stays NaN."""
        info = np.finfo(np.float32)
        if self.exclusive:
            return np.log(np.clip(probabilities, info.tiny, None)).astype(np.float32)
        inside = np.clip(probabilities, info.tiny, 1 - info.epsneg)
        return np.asarray(np.log(inside) - np.log1p(-inside), np.float32)

    def scores(self, probabilities: Floats) -> Floats:
        """The numbers [N, C] that thresholds are for: in an ordinal set of each label or a more severe one."""
        if self.labels.kind != "ordinal":
            return probabilities
        # From the most severe on, as the graph of rgb.onnx adds them up: sums that round alike reach a threshold alike.
        return np.asarray(probabilities[:, ::-1].cumsum(1, dtype=probabilities.dtype)[:, ::-1])

    def column(self, name: str) -> int:
        """Place among the scores of what an operating point of this name is for.

        Raises:
            ValueError: no label has this name, or every image reaches this level.
        """
        allowed = self.labels.names[self.labels.kind == "ordinal" :]
        if name not in allowed:
            raise ValueError(f"operating points {[name]} for the labels {list(allowed)}")
        return self.labels.names.index(name)

    def flags(self, probabilities: Floats) -> NDArray[np.bool_]:
        """Images that each operating point flags [N, points]."""
        columns = [self.column(point.name) for point in self.points]
        thresholds = np.array([point.threshold for point in self.points], probabilities.dtype)
        return np.asarray(self.scores(probabilities)[:, columns] >= thresholds)

    def decide(self, probabilities: Floats) -> Decisions:
        """Decisions for probabilities, or targets, [N, C]: label indices [N], or which labels apply [N, C].

        Of labels that are equally likely, the more severe one is decided, or the first where labels have no order.
        """
        if self.method == "threshold":
            return np.asarray(probabilities >= np.array(self.thresholds, probabilities.dtype))
        if self.method == "levels":
            reached = self.scores(probabilities)[:, 1:] >= np.array(self.thresholds, probabilities.dtype)
            return np.asarray((reached * np.arange(1, len(self.labels))).max(1))
        if self.points:
            return np.asarray(np.where(self._may_be_said(probabilities), probabilities, -1).argmax(1))
        if self.labels.kind == "ordinal":
            return np.asarray(len(self.labels) - 1 - probabilities[:, ::-1].argmax(1))
        return np.asarray(probabilities.argmax(1))

    def names(self, decision: Any) -> tuple[str, ...]:
        """The labels of one decision: the one of an index [] or [1], or those that apply [C]."""
        chosen = np.flatnonzero(decision) if not self.exclusive else np.ravel(decision)
        return tuple(self.labels.names[index] for index in chosen)

    def _may_be_said(self, probabilities: Floats) -> NDArray[np.bool_]:
        """Labels [N, C] of a nominal set that its points leave: the flagged ones, or else those without a point."""
        columns = [self.column(point.name) for point in self.points]
        flagged = np.zeros(probabilities.shape, np.bool_)
        flagged[:, columns] = self.flags(probabilities)
        return np.where(flagged.any(1, keepdims=True), flagged, self.without_point)

    @property
    def without_point(self) -> NDArray[np.bool_]:
        """Labels [C] that no point is for; all of them where each has one."""
        free = ~np.isin(self.labels.names, [point.name for point in self.points])
        return free if free.any() else ~free

    def _threshold(self, point: Point) -> float:
        """The threshold that decides what this point is for."""
        index = self.column(point.name)
        if self.labels.kind == "nominal":
            return point.threshold
        return self.thresholds[index - (self.method == "levels")] if self.thresholds else math.nan

    def same(self, left: Decisions, right: Decisions) -> NDArray[np.bool_]:
        """Images [N] on which two decisions are equal, that is, in every label."""
        equal = left == right
        return np.asarray(equal if equal.ndim == 1 else equal.all(1))

    def cross_entropy(self, logits: Floats, targets: Floats) -> float:
        """Mean cross-entropy in nats of logits [N, C] against targets [N, C]; summed over a multilabel set's labels."""
        if self.exclusive:
            return float(-(targets * _log_softmax(logits)).sum(1).mean())
        return float(-(targets * _log_expit(logits) + (1 - targets) * _log_expit(-logits)).sum(1).mean())

    def divergence(self, ours: Floats, theirs: Floats) -> float:
        """Mean Kullback-Leibler divergence in nats, KL(theirs ‖ ours), of logits [N, C]; summed for multilabel sets."""
        if self.exclusive:
            log_q, log_p = (_log_softmax(logits) for logits in (ours, theirs))
            return float((np.exp(log_p) * (log_p - log_q)).sum(1).mean())
        return float(sum(_bernoulli_divergence(sign * ours, sign * theirs) for sign in (1, -1)))

    def to_json(self) -> dict[str, Json]:
        """``method``, ``thresholds`` and ``points``; the labels are stored beside it."""
        points: list[Json] = [asdict(point) for point in self.points]
        return {"method": self.method, "thresholds": list(self.thresholds), "points": points}

    @classmethod
    def of_json(cls, labels: LabelSet, stored: Mapping[str, Any]) -> "DecisionRule":
        """The rule that ``to_json`` described.

        Raises:
            ValueError: thresholds or points do not fit the label set.
        """
        try:
            points = tuple(Point(**point) for point in stored.get("points", ()))
        except TypeError as error:
            raise ValueError(f"operating points: {error}") from None
        return cls(labels, tuple(map(float, stored["thresholds"])), points)


# Not SciPy's: an app's machine that runs `predict` would need it for these lines alone.


def _softmax(logits: Any) -> Any:
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def _expit(logits: Any) -> Any:
    with np.errstate(over="ignore"):  # exp of a large number is infinite, and one over it 0, as it should be
        return 1 / (1 + np.exp(-logits))


def _log_softmax(logits: Any) -> Any:
    """Over the last axis; shifted, so that nothing overflows."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def _log_expit(logits: Any) -> Any:
    """log(1 / (1 + exp(-x))), exact in both tails."""
    return -np.logaddexp(0, -logits)


def _bernoulli_divergence(ours: Any, theirs: Any) -> Any:
    """One outcome's part, p · log(p / q), summed over labels [N, C], the mean over images."""
    log_q = _log_expit(ours)
    log_p = _log_expit(theirs)
    return (np.exp(log_p) * (log_p - log_q)).sum(1).mean()
