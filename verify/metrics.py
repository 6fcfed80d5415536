"""Metrics of one exported model on the test split. Pure functions of decisions."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from models.decision import DecisionRule, Decisions
from verify.certificate import BaselineFacts, Flips, LabelFacts, Majority, OrdinalFacts, Rate, Side
from verify.statistics import PairedDifference, Proportion

STEPS = (1, 2)
"""Distances that under-calls and over-calls are counted from."""


def agreement(rule: DecisionRule, left: Decisions, right: Decisions) -> Proportion:
    """Images on which two models decide the same, in every label."""
    return Proportion(int(rule.same(left, right).sum()), len(left))


def agreement_by_label(
    rule: DecisionRule, teacher: Decisions, decided: Decisions, confidence: float
) -> dict[str, Rate]:
    """Agreement on images of which the teacher says a label; in a multilabel set, agreement on the label."""
    said = as_sets(rule, teacher)
    asked = said if rule.exclusive else np.ones_like(said)
    same = asked & (said == as_sets(rule, decided))
    counts = zip(rule.labels.names, same.sum(0).tolist(), asked.sum(0).tolist(), strict=True)
    return {name: Proportion(count, n).with_interval(confidence) for name, count, n in counts}


def kappa(rule: DecisionRule, left: Decisions, right: Decisions) -> float | None:
    """Agreement beyond chance (Cohen 1960); null where both only ever say the same one thing, or nothing is said."""
    if not len(left):
        return None
    values, codes = np.unique(np.concatenate([left, right]), axis=0, return_inverse=True)
    ours, theirs = (np.bincount(side, minlength=len(values)) / len(left) for side in np.split(codes.ravel(), 2))
    chance = float(ours @ theirs)
    return float((agreement(rule, left, right).rate - chance) / (1 - chance)) if chance < 1 else None


def sides(rule: DecisionRule, truth: Decisions, teacher: Decisions, decided: Decisions) -> tuple[Side, ...]:
    """Disagreements with the teacher by true label and side; none where labels are not ordered."""
    if rule.labels.kind != "ordinal":
        return ()
    return tuple(
        Side(
            truth=name,
            n=int((truth == index).sum()),
            milder=int(((decided < teacher) & (truth == index)).sum()),
            severer=int(((decided > teacher) & (truth == index)).sum()),
        )
        for index, name in enumerate(rule.labels.names)
    )


def flips(rule: DecisionRule, truth: Decisions, teacher: Decisions, decided: Decisions) -> tuple[Flips, ...]:
    """Disagreements with the teacher: what was true, what each said, how often; labels exclude each other."""
    if not rule.exclusive:
        return ()
    rows = np.stack([truth, teacher, decided], 1)[teacher != decided]
    found, counts = np.unique(rows, axis=0, return_counts=True)
    names = rule.labels.names
    return tuple(
        Flips(truth=names[true], teacher=names[its], file=names[ours], count=count)
        for (true, its, ours), count in zip(found.tolist(), counts.tolist(), strict=True)
    )


def against_baseline(
    rule: DecisionRule, truth: Decisions, decided: Decisions, baseline: Decisions, confidence: float
) -> BaselineFacts:
    """Accuracy of the same student trained on labels alone, and what distillation added."""
    gain = PairedDifference.of(rule.same(truth, decided), rule.same(truth, baseline))
    return BaselineFacts(
        accuracy=agreement(rule, truth, baseline).with_interval(confidence), gain=gain.with_interval(confidence)
    )


def majority_answer(truth: Decisions) -> Decisions:
    """The most frequent truth: a label index [], or which labels apply [C]."""
    answers, counts = np.unique(truth, axis=0, return_counts=True)
    return cast("Decisions", answers[counts.argmax()])


def always(answer: Decisions, count: int) -> Decisions:
    """The same answer for every image: [N], or [N, C]."""
    return cast("Decisions", np.repeat(answer[None], count, axis=0))


def majority(rule: DecisionRule, truth: Decisions) -> Majority:
    """The most frequent truth, and the accuracy of always answering it."""
    top = majority_answer(truth)
    found = agreement(rule, truth, always(top, len(truth)))
    return Majority(labels=rule.names(top), count=int(found.count), n=found.n, rate=found.rate)


def confusion(rule: DecisionRule, truth: Decisions, decided: Decisions) -> tuple[tuple[int, ...], ...] | None:
    """Images by [true label][decided label]; null where labels do not exclude each other."""
    if not rule.exclusive:
        return None
    counts = np.zeros((len(rule.labels), len(rule.labels)), int)
    np.add.at(counts, (truth, decided), 1)
    return tuple(tuple(row) for row in counts.tolist())


def label_facts(rule: DecisionRule, truth: Decisions, decided: Decisions) -> tuple[LabelFacts, ...]:
    """Precision, recall and F1 of every label against all others, also of those that the test split lacks."""
    true = as_sets(rule, truth)
    said = as_sets(rule, decided)
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


def as_sets(rule: DecisionRule, decisions: Decisions) -> NDArray[np.bool_]:
    """Decisions as which labels apply [N, C]."""
    return np.asarray(decisions[:, None] == np.arange(len(rule.labels)) if rule.exclusive else decisions)


def ordinal_facts(truth: Decisions, decided: Decisions, num_labels: int, confidence: float) -> OrdinalFacts:
    """Everything that is said of ordered labels; truth and decisions are their indices [N], ascending in severity."""
    steps = [step for step in STEPS if step < num_labels]
    return OrdinalFacts(
        quadratic_kappa=quadratic_kappa(truth, decided),
        mean_absolute_error=float(np.abs(decided - truth).mean()),
        under_call={step: under_call(truth, decided, step).with_interval(confidence) for step in steps},
        over_call={step: under_call(decided, truth, step).with_interval(confidence) for step in steps},
    )


def under_call(truth: Decisions, decided: Decisions, steps: int) -> Proportion:
    """Images on which the truth is at least so many steps more severe than what was decided."""
    return Proportion(int((truth - decided >= steps).sum()), len(truth))


def quadratic_kappa(truth: Decisions, decided: Decisions) -> float | None:
    """Agreement beyond chance, disagreements weighed by their squared distance (Cohen 1968).

    Null where truth and model only ever say one label, the same: then chance explains everything.
    """
    # Mean squared distance of independent draws: E(X - Y)² = var X + var Y + (E X - E Y)².
    chance = truth.var() + decided.var() + (truth.mean() - decided.mean()) ** 2
    return float(1 - ((truth - decided) ** 2).mean() / chance) if chance else None


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
