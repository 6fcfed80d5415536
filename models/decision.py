"""The decision rule: from logits to probabilities to what a model says of an image. No torch here.

Exactly one nominal or ordinal label applies to an image: softmax, and the likeliest label is decided. Each label of a
multilabel set applies or not by itself: a sigmoid each, and every label at or above its threshold is decided. Targets
are read in the same way as probabilities.

Whatever says what a model decides asks this rule: training's accuracy, the INT8 gate, the golden kit, verification and
``predict``. It travels in the metadata of every ONNX file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit, log_softmax, logit, softmax

from data.labels import LabelSet
from run.files import Json

Floats = NDArray[np.floating]
Decisions = NDArray[np.intp] | NDArray[np.bool_]
"""Label indices [N] where labels exclude each other, else which labels apply [N, C]."""

DEFAULT_THRESHOLD = 0.5
"""Probability from which on a label of a multilabel set applies, unless another was fitted."""


@dataclass(frozen=True)
class DecisionRule:
    """A label set, and the thresholds that its labels have to reach.

    Args:
        labels: the label set.
        thresholds: one probability per label of a multilabel set; empty where labels exclude each other, because the
            likeliest one is decided.

    Raises:
        ValueError: the thresholds do not fit the label set.

    Example:
        >>> rule = DecisionRule.of(LabelSet(("cat", "dog"), "nominal"))
        >>> rule.decide(rule.probabilities(np.array([[2.0, 0.0]]))).tolist()
        [0]
    """

    labels: LabelSet
    thresholds: tuple[float, ...]

    @classmethod
    def of(cls, labels: LabelSet) -> "DecisionRule":
        """The default rule of a label set: the likeliest label, or every label from ``DEFAULT_THRESHOLD`` on."""
        return cls(labels, () if labels.exclusive else (DEFAULT_THRESHOLD,) * len(labels))

    def __post_init__(self) -> None:
        expected = 0 if self.exclusive else len(self.labels)
        if len(self.thresholds) != expected or not all(0 <= threshold <= 1 for threshold in self.thresholds):
            raise ValueError(f"expected {expected} thresholds between 0 and 1, found {list(self.thresholds)}")

    @property
    def exclusive(self) -> bool:
        """True where exactly one label applies to each image."""
        return self.labels.exclusive

    @property
    def activation(self) -> str:
        """``softmax`` or ``sigmoid``, for texts."""
        return "softmax" if self.exclusive else "sigmoid"

    @property
    def answer(self) -> str:
        """The thing in which two models agree or differ, for texts."""
        return "first choice" if self.exclusive else "set of labels"

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Softmax over the labels, or a sigmoid each [..., C]; the temperature is already in the head's weights."""
        result: NDArray[np.float32] = softmax(logits, axis=-1) if self.exclusive else expit(logits)
        return result

    def logits(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Finite logits [..., C] that give these probabilities; NaN stays NaN."""
        info = np.finfo(np.float32)
        if self.exclusive:
            return np.log(np.clip(probabilities, info.tiny, None)).astype(np.float32)
        return np.asarray(logit(np.clip(probabilities, info.tiny, 1 - info.epsneg)), np.float32)

    def decide(self, probabilities: Floats) -> Decisions:
        """Decisions for probabilities, or targets, [N, C]: label indices [N], or which labels apply [N, C]."""
        if self.exclusive:
            return np.asarray(probabilities.argmax(-1))
        return np.asarray(probabilities >= np.array(self.thresholds, probabilities.dtype))

    def same(self, left: Decisions, right: Decisions) -> NDArray[np.bool_]:
        """Images [N] on which two decisions are equal, that is, in every label."""
        equal = left == right
        return np.asarray(equal if equal.ndim == 1 else equal.all(1))

    def cross_entropy(self, logits: Floats, targets: Floats) -> float:
        """Mean cross-entropy in nats of logits [N, C] against targets [N, C]; summed over a multilabel set's labels."""
        if self.exclusive:
            return float(-(targets * log_softmax(logits, axis=1)).sum(1).mean())
        return float(-(targets * log_expit(logits) + (1 - targets) * log_expit(-logits)).sum(1).mean())

    def divergence(self, ours: Floats, theirs: Floats) -> float:
        """Mean Kullback-Leibler divergence in nats, KL(theirs ‖ ours), of logits [N, C]; summed for multilabel sets."""
        if self.exclusive:
            log_q, log_p = (log_softmax(logits, axis=1) for logits in (ours, theirs))
            return float((np.exp(log_p) * (log_p - log_q)).sum(1).mean())
        return float(sum(_bernoulli_divergence(sign * ours, sign * theirs) for sign in (1, -1)))

    def to_json(self) -> dict[str, Json]:
        """``method`` and ``thresholds``; the labels are stored beside it."""
        return {"method": "argmax" if self.exclusive else "threshold", "thresholds": list(self.thresholds)}

    @classmethod
    def of_json(cls, labels: LabelSet, stored: Mapping[str, Any]) -> "DecisionRule":
        """The rule that ``to_json`` described.

        Raises:
            ValueError: the thresholds do not fit the label set.
        """
        return cls(labels, tuple(map(float, stored["thresholds"])))


def _bernoulli_divergence(ours: Any, theirs: Any) -> Any:
    """One outcome's part, p · log(p / q), summed over labels [N, C], the mean over images."""
    log_q = log_expit(ours)
    log_p = log_expit(theirs)
    return (np.exp(log_p) * (log_p - log_q)).sum(1).mean()
