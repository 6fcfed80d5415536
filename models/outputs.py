"""What a model's numbers mean, by the kind of its labels: probabilities, decisions, distances. No torch here.

Of nominal and ordinal labels exactly one applies to each image: softmax, and the likeliest label is decided. Each label
of a multilabel set applies or not by itself: a sigmoid each, and all labels at or above ``THRESHOLD`` are decided.
Targets are read in the same way as probabilities.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit, log_softmax, softmax

from data.config import Kind
from data.labels import THRESHOLD
from run.files import Json

Floats = NDArray[np.floating]
Decisions = NDArray[np.intp] | NDArray[np.bool_]
"""Label indices [N] where labels exclude each other, else which labels apply [N, C]."""


def exclusive(kind: Kind) -> bool:
    """Whether exactly one label applies to each image."""
    return kind != "multilabel"


def activation(kind: Kind) -> str:
    """What turns logits into probabilities, for texts."""
    return "softmax" if exclusive(kind) else "sigmoid"


def choice(kind: Kind) -> str:
    """What is compared where two models agree or differ, for texts."""
    return "first choice" if exclusive(kind) else "set of labels"


def problem_type(kind: Kind) -> dict[str, Json]:
    """The config entry by which transformers takes a sigmoid of each logit, where that is right."""
    return {} if exclusive(kind) else {"problem_type": "multi_label_classification"}


def probabilities(logits: NDArray[np.float32], kind: Kind) -> NDArray[np.float32]:
    """Softmax over the labels, or a sigmoid each [..., C]; the temperature is already in the head's weights."""
    result: NDArray[np.float32] = softmax(logits, axis=-1) if exclusive(kind) else expit(logits)
    return result


def decisions(probabilities: Floats, kind: Kind) -> Decisions:
    """What probabilities [N, C], or targets, decide: the likeliest label's index [N], or which labels apply [N, C]."""
    return probabilities.argmax(-1) if exclusive(kind) else np.asarray(probabilities >= THRESHOLD)


def same(left: Decisions, right: Decisions) -> NDArray[np.bool_]:
    """On which images [N] two decisions are the same, that is, in every label."""
    equal = left == right
    return np.asarray(equal if equal.ndim == 1 else equal.all(1))


def cross_entropy(logits: Floats, targets: Floats, kind: Kind) -> float:
    """Mean cross-entropy in nats of an image, of logits [N, C] against targets [N, C]; of a multilabel set, summed."""
    if exclusive(kind):
        return float(-(targets * log_softmax(logits, axis=1)).sum(1).mean())
    return float(-(targets * log_expit(logits) + (1 - targets) * log_expit(-logits)).sum(1).mean())


def divergence(ours: Floats, theirs: Floats, kind: Kind) -> float:
    """Mean Kullback-Leibler divergence in nats of what logits ``ours`` say from what ``theirs`` say, both [N, C].

    For a multilabel set, the sum of those of the labels.
    """
    if exclusive(kind):
        log_q, log_p = (log_softmax(logits, axis=1) for logits in (ours, theirs))
        return float((np.exp(log_p) * (log_p - log_q)).sum(1).mean())
    return float(sum(_bernoulli(sign * ours, sign * theirs) for sign in (1, -1)))


def _bernoulli(ours: Any, theirs: Any) -> Any:
    """One outcome's part: p · log(p / q), summed over labels, the images' mean."""
    log_q, log_p = log_expit(ours), log_expit(theirs)
    return (np.exp(log_p) * (log_p - log_q)).sum(1).mean()
