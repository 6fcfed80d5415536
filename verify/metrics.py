"""What one exported model does on the test split. Pure functions of labels and predictions."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from data.labels import LabelSet
from run.files import Json
from verify.statistics import Proportion


def proportion_json(found: Proportion, confidence: float) -> dict[str, Json]:
    """``n``, ``count``, ``rate`` and the two-sided exact interval."""
    lower, upper = found.interval(confidence)
    return {
        "n": found.n,
        "count": found.count,
        "rate": found.rate,
        "lower": lower,
        "upper": upper,
        "confidence": confidence,
    }


def agreement(left: NDArray[np.intp], right: NDArray[np.intp]) -> Proportion:
    """On how many images two predictions [N] are the same."""
    return Proportion(int((left == right).sum()), len(left))


def majority(truth: NDArray[np.intp], labels: LabelSet) -> dict[str, Json]:
    """The most frequent label, and the accuracy of always saying it."""
    counts = np.bincount(truth, minlength=len(labels))
    top = int(counts.argmax())
    return {
        "label": labels.names[top],
        "count": int(counts[top]),
        "n": len(truth),
        "rate": float(counts[top] / len(truth)),
    }


def per_class(truth: NDArray[np.intp], predicted: NDArray[np.intp], labels: LabelSet) -> list[Json]:
    """Precision, recall, F1 and n of every label, also of those that the test split lacks; null where undefined."""
    everyone = range(len(labels))
    precision, recall, f1, n = precision_recall_fscore_support(truth, predicted, labels=everyone, zero_division=np.nan)
    return [
        {
            "label": labels.names[index],
            "n": int(n[index]),
            "precision": _or_null(precision[index]),
            "recall": _or_null(recall[index]),
            "f1": _or_null(f1[index]),
        }
        for index in everyone
    ]


def macro_f1(truth: NDArray[np.intp], predicted: NDArray[np.intp]) -> float:
    """Mean F1 of the labels that the test split has; a label never predicted counts as 0."""
    present = np.unique(truth)
    return float(precision_recall_fscore_support(truth, predicted, labels=present, average="macro", zero_division=0)[2])


def confusion(truth: NDArray[np.intp], predicted: NDArray[np.intp], labels: LabelSet) -> list[Json]:
    """Counts [true label][predicted label]."""
    matrix: list[Json] = confusion_matrix(truth, predicted, labels=range(len(labels))).tolist()
    return matrix


def _or_null(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
