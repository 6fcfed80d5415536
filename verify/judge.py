"""Judging: from what was measured to the certificate. Pure, and done in an instant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fitting.diagnosis import diagnose_gain
from verify import metrics
from verify.certificate import (
    Certificate,
    FileFacts,
    Look,
    ModelFacts,
    PointFacts,
    SliceFacts,
    SplitFacts,
)
from verify.config import VerifyConfig
from verify.criteria import Answers, FileClaims, parity_claims, with_recounts
from verify.evidence import Count, Criterion
from verify.exported import ExportedModel
from verify.measure import Measurements
from verify.metrics import agreement
from verify.points import point_facts
from verify.predictions import Predictions
from verify.probabilities import reliability
from verify.slices import Slice
from verify.verdicts import all_of, confidence_together, judge_claims, overall


def judge(
    name: str,
    measured: Measurements,
    models: Sequence[ExportedModel],
    config: VerifyConfig,
    look: Look,
    files: Mapping[str, str],
) -> Certificate:
    """Judge a release.

    Args:
        models: the teacher first.
        files: digests of all files of the release.
    """
    # Before anything is counted: exact bounds need independent draws, and duplicates are none.
    split = measured.predictions.split("test")
    independent = split.one_per_group()
    test = Answers.of(independent)
    teacher = models[0].reference
    # Digests of what was run, not of what lies there now: a file that was changed meanwhile must not pass as judged.
    digests = {**files, **{file: independent.files[file].sha256 for model in models for file in model.files}}
    recounted = {count: Answers.of(part) for count, part in _recounts(split, independent).items()}
    claims = [claim for model in models for claim in parity_claims(model, digests)]
    for model in models:
        for file in model.files:
            own = FileClaims(test, model, file, teacher, config, look.confidence)
            recounts = {count: replace(own, test=answers).of_rates() for count, answers in recounted.items()}
            claims += with_recounts(own, recounts)
    criteria = judge_claims(claims, look.confidence)
    facts = _Facts(test, teacher, config, measured)
    judged = {model.name: facts.of_model(model, criteria) for model in models}
    return Certificate(
        verdict=all_of([one.verdict for one in judged.values()]),
        name=name,
        labels=independent.labels,
        labels_digest=independent.labels.digest,
        profile=config.profile,
        accepted=config.accept,
        confidence=config.confidence,
        look=look,
        confidence_together=confidence_together(claims, look.confidence),
        test=SplitFacts(
            images=len(split),
            groups=len(independent),
            clusters=len(split.one_per_cluster()),
            near_training=sum(map(bool, independent.column("near_training"))),
            tied=int((~test.told).sum()),
            majority=metrics.majority(test.rule, test.truth),
        ),
        criteria=criteria,
        models=judged,
        files=digests,
    )


def _recounts(split: Predictions, independent: Predictions) -> dict[Count, Predictions]:
    """Other counts of a split's images that are as good, where they differ from the first."""
    clusters = split.one_per_cluster()
    near = np.array(list(map(bool, independent.column("near_training"))))
    found: dict[Count, Predictions] = {
        "one of each cluster": clusters,
        "those unlike any in training": independent.take(np.flatnonzero(~near)),
    }
    return {count: part for count, part in found.items() if len(part) < len(independent) and len(part.with_truth())}


@dataclass(frozen=True)
class _Facts:
    """Figures for reading, with two-sided intervals; no verdict follows from them."""

    test: Answers
    teacher: str
    """The teacher's float32 file."""
    config: VerifyConfig
    measured: Measurements

    def of_file(self, file: str) -> FileFacts:
        rule = self.test.rule
        truth = self.test.truth
        confidence = self.config.confidence
        said = self.test.said(file)
        teacher_said = self.test.said(self.teacher)
        decided = self.test.decided[file]
        teacher = self.test.decided[self.teacher]
        ordered = rule.labels.kind == "ordinal"
        return FileFacts(
            bytes=self.measured.predictions.files[file].bytes,
            accuracy=agreement(rule, truth, said).with_interval(confidence),
            macro_f1=metrics.macro_f1(metrics.label_facts(rule, truth, said)),
            ordinal=metrics.ordinal_facts(truth, said, len(rule.labels), confidence) if ordered else None,
            agreement=agreement(rule, teacher, decided).with_interval(confidence),
            agreement_by_label=metrics.agreement_by_label(rule, teacher, decided, confidence),
            kappa=metrics.kappa(rule, teacher, decided),
            sides=metrics.sides(rule, truth, teacher_said, said),
            flips=metrics.flips(rule, truth, teacher_said, said),
            slices=tuple(self._of_slice(part, file) for part in self.test.slices),
            points=self._points(file),
            latency_ms=self.measured.latencies[file],
        )

    def _of_slice(self, part: Slice, file: str) -> SliceFacts:
        test = self.test
        rule = self.test.rule
        told = part.images[test.told]
        same = agreement(rule, test.decided[self.teacher][part.images], test.decided[file][part.images])
        right = agreement(rule, test.truth[told], test.said(file)[told])
        return SliceFacts(
            name=part.name,
            declared=part.declared,
            judged=part.judged,
            agreement=same.with_interval(self.config.confidence),
            accuracy=right.with_interval(self.config.confidence) if right.n else None,
        )

    def _points(self, file: str) -> tuple[PointFacts, ...]:
        own = self.test.own_rule(file)
        told = self.test.told
        probabilities = own.probabilities(self.test.logits[file][told])
        return point_facts(own, probabilities, self.test.targets[told], self.config.confidence, self.config.prevalence)

    def of_model(self, model: ExportedModel, criteria: Sequence[Criterion]) -> ModelFacts:
        confidence = self.config.confidence
        said = self.test.said(model.reference)
        logits = self.test.logits[model.reference][self.test.told]
        rule = self.test.rule
        truth = self.test.truth
        baseline = None
        notes = [*model.notes]
        if model.baseline is not None:
            baseline = metrics.against_baseline(rule, truth, said, self.test.said(model.baseline), confidence)
            notes += diagnose_gain(baseline.gain.rate, baseline.gain.lower, baseline.gain.upper)
        return ModelFacts(
            role=model.role,
            verdict=overall([one for one in criteria if one.model == model.name]),
            file=model.reference,
            per_label=metrics.label_facts(rule, truth, said),
            confusion=metrics.confusion(rule, truth, said),
            reliability=reliability(rule, logits, truth, confidence),
            temperature=model.temperature,
            files={file: self.of_file(file) for file in model.files},
            baseline=baseline,
            notes=tuple(notes),
        )
