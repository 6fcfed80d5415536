"""The criteria: what is claimed of each released file, and the evidence that the test images give. Pure functions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.labels import LabelSet
from export.points.fit import truth_of
from models.decision import DecisionRule, Decisions
from verify.certificate import Certificate, PointFacts
from verify.config import VerifyConfig
from verify.evidence import (
    Beats,
    Claim,
    Count,
    CriterionName,
    Direction,
    Evidence,
    Finite,
    Informed,
    Largest,
    Mean,
    Noise,
    Pairs,
    Said,
    Share,
    Tier,
)
from verify.exported import ExportedModel
from verify.metrics import always, as_sets, majority_answer
from verify.predictions import Predictions
from verify.probabilities import calibration_noise, excess_losses
from verify.slices import Slice, slices_of

RECALL_LOSS = 0.05
"""Most of a label's recall that a student may lose against its teacher."""

DANGEROUS = 0.05
"""Largest share of dangerous flips."""

NAMED = 5
"""Images with a score that is not a number that are named."""

NO_POINT = "no point"
"""Subject of the claim about operating points that the safety profile makes where there are none: nothing shows it."""


class Shape(NamedTuple):
    """What is the same in every claim of one name; null where the config or the release says."""

    evidence: type
    side: Direction | None
    limit: float | None
    tier: Tier
    """In the default profile; in the safety profile, all must pass."""


SHAPES: Mapping[CriterionName, Shape] = {
    "parity": Shape(Largest, "at most", None, "must pass"),
    "finite": Shape(Finite, "at most", 0, "must pass"),
    "conversion": Shape(Share, "at most", None, "must pass"),
    "agreement": Shape(Share, "at least", None, "must pass"),
    "majority": Shape(Beats, "at least", 0, "must pass"),
    "informed": Shape(Informed, "at least", 0, "must pass"),
    "dead label": Shape(Said, "at least", 1, "must pass"),
    "operating point": Shape(Share, None, None, "may not fail"),
    "recall": Shape(Pairs, "at least", -RECALL_LOSS, "may not fail"),
    "dangerous flips": Shape(Share, "at most", DANGEROUS, "may not fail"),
    "slice": Shape(Share, "at least", None, "may not fail"),
    "likelihood": Shape(Mean, "at most", 0, "may not fail"),
    "calibration": Shape(Noise, "at most", None, "reported"),
}


@dataclass(frozen=True)
class Answers:
    """Answers of the files for independent test images.

    Args:
        images: keyed digests [N].
        targets: [N, C].
        told: images [N] whose target says one thing; only these count where the truth is asked for.
        decided: by file [N] or [N, C].
        logits: by file [N, C].
        rules: by file, its own; a file without one has no operating points.
    """

    rule: DecisionRule
    images: Sequence[str]
    targets: NDArray[np.float32]
    told: NDArray[np.bool_]
    decided: Mapping[str, Decisions]
    logits: Mapping[str, NDArray[np.float32]]
    slices: Sequence[Slice] = ()
    rules: Mapping[str, DecisionRule] = field(default_factory=dict)

    @classmethod
    def of(cls, test: Predictions) -> "Answers":
        """Answers of all files of the predictions, each by its own rule."""
        targets = test.targets
        return cls(
            rule=DecisionRule.of(test.labels),
            images=test.column("image"),
            targets=targets,
            told=test.labels.has_truth(targets),
            decided={file: test.decisions(file) for file in test.files},
            logits={file: test.logits(file) for file in test.files},
            slices=slices_of(test),
            rules={file: found.rule for file, found in test.files.items()},
        )

    @cached_property
    def truth(self) -> Decisions:
        """True labels of the told images."""
        return self.rule.labels.truth(self.targets[self.told])

    def said(self, file: str) -> Decisions:
        """A file's decisions for the told images."""
        return self.decided[file][self.told]

    def own_rule(self, file: str) -> DecisionRule:
        """The rule that a file ships with."""
        return self.rules.get(file, self.rule)

    def questions(self, decisions: Decisions) -> dict[str, NDArray[np.bool_]]:
        """Answers [N] by what is asked: each label, or of ordered labels whether it is this one or a more severe."""
        names = _questions(self.rule.labels)
        if self.rule.labels.kind == "ordinal":
            return {name: decisions >= level for level, name in enumerate(names, 1)}
        return dict(zip(names, as_sets(self.rule, decisions).T, strict=True))


@dataclass(frozen=True)
class FileClaims:
    """All that is claimed of one file.

    Args:
        teacher: the teacher's float32 file.
    """

    test: Answers
    model: ExportedModel
    file: str
    teacher: str
    config: VerifyConfig
    confidence: float

    def __iter__(self) -> Iterator[Claim]:
        yield self._finite()
        yield from self._dead_labels()
        yield from self.of_rates()
        yield from self._calibration()
        if self.model.role == "student":
            yield from self._slices()

    def of_rates(self) -> Iterator[Claim]:
        """Those whose evidence hangs on which of several near-duplicates are counted."""
        if self.file != self.model.reference:
            yield self._conversion()
        if self.model.role == "student":
            yield self._agreement()
        yield self._majority()
        yield from self._informed()
        yield from self._points()
        if self.model.role == "student":
            yield from self._recall()
            yield from self._dangerous_flips()
        yield self._likelihood()

    def _claim(
        self,
        name: CriterionName,
        statement: str,
        evidence: Evidence,
        limit: float | None = None,
        *,
        side: Direction | None = None,
        about: str | None = None,
    ) -> Claim:
        """A claim; side and limit are given where ``SHAPES`` has none."""
        shape = SHAPES[name]
        side = shape.side or side
        limit = shape.limit if limit is None else limit
        assert side is not None and limit is not None  # noqa: PT018 - one of the two says
        return Claim(
            name=name,
            tier="must pass" if self.config.profile == "safety" else shape.tier,
            model=self.model.name,
            file=self.file,
            about=about,
            statement=statement,
            evidence=evidence,
            side=side,
            limit=limit,
        )

    def _finite(self) -> Claim:
        bad = np.flatnonzero(~np.isfinite(self.test.logits[self.file]).all(1))
        named = tuple(self.test.images[row][:12] for row in bad[:NAMED])
        evidence = Finite(n=len(self.test.images), count=len(bad), images=named)
        return self._claim("finite", "every score is a number", evidence)

    def _same(self, other: str) -> NDArray[np.bool_]:
        return self.test.rule.same(self.test.decided[self.file], self.test.decided[other])

    def _conversion(self) -> Claim:
        flips = _share(~self._same(self.model.reference))
        statement = f"this file's {self.test.rule.answer} is not that of the same model in float32"
        return self._claim("conversion", statement, flips, self.config.conversion)

    def _agreement(self) -> Claim:
        statement = f"this file's {self.test.rule.answer} is that of the exported teacher in float32"
        return self._claim("agreement", statement, _share(self._same(self.teacher)), self.config.agreement)

    def _slices(self) -> Iterator[Claim]:
        statement = f"this file's {self.test.rule.answer} is that of the exported teacher in float32, on a slice"
        same = self._same(self.teacher)
        judged = [part for part in self.test.slices if part.judged]
        for part in judged:
            evidence = _share(same[part.images])
            found = self._claim("slice", statement, evidence, self.config.agreement, about=part.name)
            # Nobody asked for the automatic ones: they are looked at, and decide nothing.
            yield replace(found, shared_by=len(judged), tier=found.tier if part.declared else "reported")

    def _majority(self) -> Claim:
        truth = self.test.truth
        right = self.test.rule.same(truth, self.test.said(self.file))
        guessed = self.test.rule.same(truth, always(majority_answer(truth), len(truth)))
        evidence = Beats(n=len(truth), gained=_count(right & ~guessed), lost=_count(guessed & ~right))
        return self._claim("majority", "right more often than always saying what is true most often", evidence)

    def _informed(self) -> Iterator[Claim]:
        said = self.test.questions(self.test.said(self.file))
        asked = _asked(self.test.rule.labels, self.config.accept)
        for about, true in self.test.questions(self.test.truth).items():
            if about not in asked:
                continue
            evidence = Informed(
                positives=_count(true),
                hits=_count(true & said[about]),
                negatives=_count(~true),
                false_alarms=_count(~true & said[about]),
            )
            yield self._claim("informed", "said more often where it is true", evidence, about=about)

    def _dead_labels(self) -> Iterator[Claim]:
        rule = self.test.rule
        positives = as_sets(rule, self.test.truth).sum(0)
        said = as_sets(rule, self.test.decided[self.file]).sum(0)
        for name, true, times in zip(rule.labels.names, positives.tolist(), said.tolist(), strict=True):
            if name not in self.config.accept:
                yield self._claim("dead label", "said at least once", Said(positives=true, said=times), about=name)

    def _points(self) -> Iterator[Claim]:
        """Promises of operating points: what the test images contradict fails, what they leave open does not."""
        rule = self.test.own_rule(self.file)
        if self.config.profile == "safety" and not rule.points:
            # Not left out: a safety profile without a promise would look as if one were kept.
            yield self._promise(NO_POINT, "flagged", Share(n=0, count=0), "at least", 1)
        flags = rule.flags(rule.probabilities(self.test.logits[self.file][self.test.told]))
        for index, point in enumerate(rule.points):
            true = truth_of(rule.labels, self.test.targets[self.test.told], point.name)
            flagged = flags[:, index]
            if point.recall is not None:
                found = _share(flagged[true])
                yield self._promise(f"recall of {point.name}", "flagged", found, "at least", point.recall)
            if point.fpr is not None:
                found = _share(flagged[~true])
                yield self._promise(f"false alarms of {point.name}", "flagged falsely", found, "at most", point.fpr)

    def _promise(self, about: str, statement: str, found: Share, side: Direction, limit: float) -> Claim:
        return self._claim("operating point", statement, found, limit, side=side, about=about)

    def _recall(self) -> Iterator[Claim]:
        rule = self.test.rule
        truth, ours, theirs = (
            as_sets(rule, one).T for one in (self.test.truth, self.test.said(self.file), self.test.said(self.teacher))
        )
        for name, true, mine, its in zip(rule.labels.names, truth, ours, theirs, strict=True):
            evidence = Pairs(n=_count(true), gained=_count(true & mine & ~its), lost=_count(true & its & ~mine))
            statement = "recall, minus that of the exported teacher in float32"
            yield self._claim("recall", statement, evidence, about=name)

    def _dangerous_flips(self) -> Iterator[Claim]:
        if self.test.rule.labels.kind == "nominal":
            return  # no label is the dangerous one
        truth, ours, theirs = (
            self.test.questions(one)
            for one in (self.test.truth, self.test.said(self.file), self.test.said(self.teacher))
        )
        for about, true in truth.items():
            statement = "missed, where it is true and the teacher says so"
            evidence = _share(~ours[about][true & theirs[about]])
            yield self._claim("dangerous flips", statement, evidence, about=about)

    def _likelihood(self) -> Claim:
        told = self.test.told
        losses, most = excess_losses(self.test.rule, self.test.logits[self.file][told], self.test.targets[told])
        evidence = Mean(
            n=len(losses),
            mean=float(losses.mean()),
            variance=float(losses.var(ddof=1)) if len(losses) > 1 else 0.0,
            least=-most[0],
            most=most[1],
        )
        statement = "cross-entropy, minus that of the test labels' frequencies, in nats"
        return self._claim("likelihood", statement, evidence)

    def _calibration(self) -> Iterator[Claim]:
        told = self.test.told
        found = calibration_noise(self.test.rule, self.test.logits[self.file][told], self.test.truth, self.confidence)
        for about, evidence in found.items():
            statement = "calibration error within what chance alone would give"
            # Beyond it, the word "calibrated" is dropped; the decisions may be as good as before.
            yield self._claim("calibration", statement, evidence, evidence.band, about=about)


def with_recounts(claims: Iterable[Claim], recounts: Mapping[Count, Iterable[Claim]]) -> list[Claim]:
    """The claims, each with the evidence that other counts of the images give for it."""
    found = {count: {(one.name, one.about): one.evidence for one in recounted} for count, recounted in recounts.items()}
    return [
        replace(
            one,
            recounts={
                count: evidence[one.name, one.about]
                for count, evidence in found.items()
                if (one.name, one.about) in evidence
            },
        )
        for one in claims
    ]


def parity_claims(model: ExportedModel, digests: Mapping[str, str]) -> Iterator[Claim]:
    """Parity as export measured it; it vouches for the very files that were run then, and for no others."""
    for found in model.parity:
        same = all(digests.get(file) == digest for file, digest in found.sha256.items())
        evidence = Largest(n=found.n, largest=found.largest, spread=found.spread, sha256=found.sha256, same_files=same)
        yield Claim(
            name="parity",
            tier="must pass",
            model=model.name,
            file=found.file,
            about=None,
            statement=found.statement,
            evidence=evidence,
            side="at most",
            limit=found.target,
        )


def expected_claims(certificate: Certificate) -> Iterator[tuple[CriterionName, Tier, str, str | None]]:
    """Name, tier, file and subject of every claim that a certificate has to make of its models, slices apart.

    What it says of its operating points is taken as it is: the thresholds are in files that it lists.
    """
    labels = certificate.labels
    silent = [name for name in labels.names if name not in certificate.accepted]
    told = _asked(labels, certificate.accepted)
    unkept = [NO_POINT] if certificate.profile == "safety" else []
    for model in certificate.models.values():
        yield "parity", SHAPES["parity"].tier, model.file, None
        for file, facts in model.files.items():
            claims: dict[CriterionName, Sequence[str | None]] = {
                "finite": [None],
                "conversion": [None] if file != model.file else [],
                "majority": [None],
                "informed": told,
                "dead label": silent,
                "operating point": promises(facts.points) or unkept,
                "likelihood": [None],
                "calibration": [None] if labels.exclusive else labels.names,
            }
            if model.role == "student":
                dangerous = _questions(labels) if labels.kind != "nominal" else ()
                claims |= {"agreement": [None], "recall": labels.names, "dangerous flips": dangerous}
            for name, abouts in claims.items():
                for about in abouts:
                    yield name, "must pass" if certificate.profile == "safety" else SHAPES[name].tier, file, about


def promises(points: Sequence[PointFacts]) -> list[str]:
    """Subjects of the claims about operating points: each promises one rate, or both."""
    rates = ((f"recall of {point.name}", point.promised_recall) for point in points)
    alarms = ((f"false alarms of {point.name}", point.promised_fpr) for point in points)
    return [about for about, promised in (*rates, *alarms) if promised is not None]


def _questions(labels: LabelSet) -> list[str]:
    """Questions about each image: of ordered labels, whether it is at this level or above."""
    if labels.kind != "ordinal":
        return list(labels.names)
    return [f"{name} or worse" for name in labels.names[1:]]


def _asked(labels: LabelSet, accepted: Sequence[str]) -> list[str]:
    """Questions to which accepted labels leave more than one answer."""
    if labels.kind != "ordinal":
        return [name for name in labels.names if name not in accepted]
    sides = [(labels.names[:level], labels.names[level:]) for level in range(1, len(labels))]
    questions = zip(_questions(labels), sides, strict=True)
    return [name for name, parts in questions if not any(set(accepted).issuperset(part) for part in parts)]


def _share(images: NDArray[np.bool_]) -> Share:
    return Share(n=len(images), count=_count(images))


def _count(images: NDArray[np.bool_]) -> int:
    return int(images.sum())
