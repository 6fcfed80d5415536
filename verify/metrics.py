"""What one exported model does on the test split. Pure functions of labels and decisions."""

import itertools

import numpy as np
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix, precision_recall_fscore_support

from data.labels import LabelSet
from models.outputs import Decisions, exclusive, same
from run.files import Json
from verify.ordinal import ordinal_facts
from verify.statistics import PairedDifference, Proportion, proportion_json


def agreement(left: Decisions, right: Decisions) -> Proportion:
    """On how many images two models decide the same, in every label."""
    return Proportion(int(same(left, right).sum()), len(left))


def against_baseline(truth: Decisions, decided: Decisions, baseline: Decisions, confidence: float) -> dict[str, Json]:
    """The ``accuracy`` of the same student trained on labels alone, and what distillation added (``gain``)."""
    right, plain = same(truth, decided), same(truth, baseline)
    gain = PairedDifference(gained=int((right & ~plain).sum()), lost=int((plain & ~right).sum()), n=len(truth))
    return {
        "accuracy": proportion_json(agreement(truth, baseline), confidence),
        "gain": gain.to_json(confidence),
    }


def majority(truth: Decisions, labels: LabelSet) -> dict[str, Json]:
    """The most frequent truth, and the accuracy of always saying it.

    Returns:
        ``label``, or for a multilabel set ``labels``, a list that may be empty; ``count``, ``n`` and ``rate``.
    """
    answers, counts = np.unique(truth, axis=0, return_counts=True)
    count, top = int(counts.max()), answers[counts.argmax()]
    said: dict[str, Json] = (
        {"label": labels.names[top]}
        if exclusive(labels.kind)
        else {"labels": list(itertools.compress(labels.names, top))}
    )
    return {**said, "count": count, "n": len(truth), "rate": count / len(truth)}


def quality(truth: Decisions, decided: Decisions, labels: LabelSet, confidence: float) -> dict[str, Json]:
    """How right a model is: ``accuracy`` (in every label), ``macro_f1``, and ``ordinal`` for ordered labels."""
    facts: dict[str, Json] = {
        "accuracy": proportion_json(agreement(truth, decided), confidence),
        "macro_f1": macro_f1(truth, decided),
    }
    if labels.kind == "ordinal":
        facts["ordinal"] = ordinal_facts(truth, decided, len(labels), confidence)
    return facts


def closeness(reference: Decisions, decided: Decisions, labels: LabelSet, confidence: float) -> dict[str, Json]:
    """How far a model decides what another does: ``agreement``, and for multilabel sets ``agreement_by_label``."""
    facts: dict[str, Json] = {"agreement": proportion_json(agreement(reference, decided), confidence)}
    if not exclusive(labels.kind):
        facts["agreement_by_label"] = [
            {"label": name, **proportion_json(agreement(reference[:, index], decided[:, index]), confidence)}
            for index, name in enumerate(labels.names)
        ]
    return facts


def by_label(truth: Decisions, decided: Decisions, labels: LabelSet) -> dict[str, Json]:
    """``per_class``, and where labels exclude each other ``confusion``: counts [true label][decided label]."""
    if exclusive(labels.kind):
        matrix = confusion_matrix(truth, decided, labels=range(len(labels))).tolist()
        return {"per_class": per_class(truth, decided, labels), "confusion": matrix}
    return {"per_class": per_class(truth, decided, labels)}


def per_class(truth: Decisions, decided: Decisions, labels: LabelSet) -> list[Json]:
    """Precision, recall, F1 and n of every label, also of those that the test split lacks; null where undefined.

    ``n`` is the number of images that have the label. In a multilabel set it is the number of all images, ``positives``
    that of those with the label, and ``confusion`` is [true negatives, false positives, false negatives, true
    positives].
    """
    everyone = range(len(labels))
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, decided, labels=everyone, zero_division=np.nan
    )
    rows: list[Json] = []
    for index in everyone:
        row: dict[str, Json] = {
            "label": labels.names[index],
            "n": int(support[index]),
            "precision": _or_null(precision[index]),
            "recall": _or_null(recall[index]),
            "f1": _or_null(f1[index]),
        }
        if not exclusive(labels.kind):
            counts = multilabel_confusion_matrix(truth, decided)[index].ravel().tolist()
            row |= {"n": len(truth), "positives": int(support[index]), "confusion": counts}
        rows.append(row)
    return rows


def macro_f1(truth: Decisions, decided: Decisions) -> float | None:
    """Mean F1 of the labels that the test split has; one never decided counts as 0. Null where it has none."""
    present = np.unique(truth) if truth.ndim == 1 else np.flatnonzero(truth.any(0))
    if not len(present):
        return None
    scores = precision_recall_fscore_support(truth, decided, labels=present, average="macro", zero_division=0)
    return float(scores[2])


def _or_null(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
