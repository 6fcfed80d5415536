"""Metrics of one exported model on the test split. Pure functions of decisions."""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.decision import DecisionRule, Decisions
from verify.certificate import BaselineFacts, LabelFacts, Majority, Rate
from verify.statistics import PairedDifference, Proportion


def agreement(rule: DecisionRule, left: Decisions, right: Decisions) -> Proportion:
    """Images on which two models decide the same, in every label."""
    return Proportion(int(rule.same(left, right).sum()), len(left))


def agreement_by_label(
    rule: DecisionRule, left: Decisions, right: Decisions, confidence: float
) -> dict[str, Rate] | None:
    """Agreement label by label of a multilabel set; null where labels exclude each other."""
    if rule.exclusive:
        return None
    return {
        name: agreement(rule, left[:, index], right[:, index]).with_interval(confidence)
        for index, name in enumerate(rule.labels.names)
    }


def against_baseline(
    rule: DecisionRule, truth: Decisions, decided: Decisions, baseline: Decisions, confidence: float
) -> BaselineFacts:
    """Accuracy of the same student trained on labels alone, and what distillation added."""
    right = rule.same(truth, decided)
    plain = rule.same(truth, baseline)
    gain = PairedDifference(gained=int((right & ~plain).sum()), lost=int((plain & ~right).sum()), n=len(truth))
    return BaselineFacts(
        accuracy=agreement(rule, truth, baseline).with_interval(confidence), gain=gain.with_interval(confidence)
    )


def majority(rule: DecisionRule, truth: Decisions) -> Majority:
    """The most frequent truth, and the accuracy of always answering it."""
    answers, counts = np.unique(truth, axis=0, return_counts=True)
    top = answers[counts.argmax()]
    names = rule.labels.names
    said = (names[top],) if rule.exclusive else tuple(itertools.compress(names, top))
    count = int(counts.max())
    return Majority(labels=said, count=count, n=len(truth), rate=count / len(truth))


def confusion(rule: DecisionRule, truth: Decisions, decided: Decisions) -> tuple[tuple[int, ...], ...] | None:
    """Images by [true label][decided label]; null where labels do not exclude each other."""
    if not rule.exclusive:
        return None
    counts = np.zeros((len(rule.labels), len(rule.labels)), int)
    np.add.at(counts, (truth, decided), 1)
    return tuple(tuple(row) for row in counts.tolist())


def label_facts(rule: DecisionRule, truth: Decisions, decided: Decisions) -> tuple[LabelFacts, ...]:
    """Precision, recall and F1 of every label against all others, also of those that the test split lacks."""
    true = _as_sets(rule, truth)
    said = _as_sets(rule, decided)
    counts = [(one & other).sum(0).tolist() for one in (~true, true) for other in (~said, said)]
    return tuple(
        LabelFacts(
            label=name,
            positives=missed + found,
            precision=_ratio(found, found + false_alarms),
            recall=_ratio(found, found + missed),
            f1=_ratio(2 * found, 2 * found + false_alarms + missed),
            confusion=(rejected, false_alarms, missed, found),
        )
        for name, rejected, false_alarms, missed, found in zip(rule.labels.names, *counts, strict=True)
    )


def macro_f1(rows: Sequence[LabelFacts]) -> float | None:
    """Mean F1 of the labels that the test split has; one never decided counts as 0. Null where it has none."""
    # A label that the test split lacks says nothing of the model's recall, whatever else was called by its name.
    present = [row.f1 for row in rows if row.positives and row.f1 is not None]
    return float(np.mean(present)) if present else None


def _as_sets(rule: DecisionRule, decisions: Decisions) -> NDArray[np.bool_]:
    """Decisions as which labels apply [N, C]."""
    return np.asarray(decisions[:, None] == np.arange(len(rule.labels)) if rule.exclusive else decisions)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
