"""Judging: from what was measured to the certificate. Pure, and done in an instant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.decision import DecisionRule, Decisions
from verify.certificate import (
    BaselineFacts,
    Certificate,
    Criterion,
    FileFacts,
    Latency,
    ModelFacts,
    ParityCriterion,
    RateCriterion,
    SplitFacts,
    Verdict,
)
from verify.config import VerifyConfig
from verify.exported import ExportedModel, MeasuredParity
from verify.measure import Measurements
from verify.metrics import (
    against_baseline,
    agreement,
    agreement_by_label,
    confusion,
    label_facts,
    macro_f1,
    majority,
)
from verify.ordinal import ordinal_facts
from verify.statistics import more_images, verdict_of


def judge(name: str, measured: Measurements, models: Sequence[ExportedModel], config: VerifyConfig) -> Certificate:
    """Judge a release.

    Args:
        name: of the run.
        measured: what its files say of the test images.
        models: what export recorded of its models, the teacher first.
        config: the targets.
    """
    # Before anything is counted: exact bounds need independent draws, and duplicates are none.
    split = measured.predictions.split("test")
    test = split.one_per_group()
    rule = DecisionRule.of(test.labels)
    # Images whose votes tie have no true label: they count for agreement, and for nothing that takes a truth.
    told = test.with_truth()
    decided = {file: test.decisions(file) for file in test.files}
    decided_told = {file: told.decisions(file) for file in test.files}
    evidence = _Evidence(rule, told.truth(), decided_told, decided, models[0].reference, config)
    judged = [file for model in models for file in model.files]
    # Digests of what was run, not of what lies there now: a file that was changed meanwhile must not pass as judged.
    digests = {file: test.files[file].sha256 for file in judged}
    for model in models:
        digests |= model.other_files
    criteria: tuple[Criterion, ...] = (
        *(
            evidence.agreement_criterion(model.name, file)
            for model in models
            for file in model.files
            if file != evidence.reference
        ),
        *(_parity(model.name, found, digests) for model in models for found in model.parity),
    )
    facts = {file: evidence.file_facts(file, test.files[file].bytes, measured.latencies[file]) for file in judged}
    return Certificate(
        verdict=overall([criterion.verdict for criterion in criteria]),
        name=name,
        labels=test.labels,
        labels_digest=test.labels.digest,
        test=SplitFacts(images=len(split), groups=len(test), majority=majority(rule, evidence.truth)),
        criteria=criteria,
        models={model.name: evidence.model_facts(model, facts) for model in models},
        files=digests,
    )


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """FAIL if anything fails, PASS if everything passes, else INCONCLUSIVE.

    Every criterion has to pass on its own, so no correction for their number is needed (an intersection-union test).
    """
    if "FAIL" in verdicts:
        return "FAIL"
    return "PASS" if all(verdict == "PASS" for verdict in verdicts) else "INCONCLUSIVE"


@dataclass(frozen=True)
class _Evidence:
    """Truth and every file's decisions, on one image of each group."""

    rule: DecisionRule
    truth: Decisions
    """Of the images with one true label."""
    told: Mapping[str, Decisions]
    """Each file's decisions on those."""
    decided: Mapping[str, Decisions]
    """And on all images."""
    reference: str
    """The teacher's float32 file."""
    config: VerifyConfig

    def agreement_criterion(self, model: str, file: str) -> RateCriterion:
        found = agreement(self.rule, self.decided[self.reference], self.decided[file])
        target = self.config.agreement
        confidence = self.config.confidence
        return RateCriterion(
            name="agreement",
            model=model,
            file=file,
            statement=f"this file's {self.rule.answer} is that of the exported teacher in float32",
            target=target,
            verdict=verdict_of(found, target, confidence),
            more_images=more_images(found, target, confidence),
            **vars(found.with_bounds(confidence)),
        )

    def file_facts(self, file: str, size: int, latency: Latency) -> FileFacts:
        rule = self.rule
        confidence = self.config.confidence
        told = self.told[file]
        decided = self.decided[file]
        reference = self.decided[self.reference]
        ordered = rule.labels.kind == "ordinal"
        return FileFacts(
            bytes=size,
            accuracy=agreement(rule, self.truth, told).with_interval(confidence),
            macro_f1=macro_f1(label_facts(rule, self.truth, told)),
            ordinal=ordinal_facts(self.truth, told, len(rule.labels), confidence) if ordered else None,
            agreement=agreement(rule, reference, decided).with_interval(confidence),
            agreement_by_label=agreement_by_label(rule, reference, decided, confidence),
            latency_ms=latency,
        )

    def model_facts(self, model: ExportedModel, facts: Mapping[str, FileFacts]) -> ModelFacts:
        decided = self.told[model.reference]
        return ModelFacts(
            role=model.role,
            file=model.reference,
            per_label=label_facts(self.rule, self.truth, decided),
            confusion=confusion(self.rule, self.truth, decided),
            temperature=model.temperature,
            files={file: facts[file] for file in model.files},
            baseline=self._baseline_facts(decided, model.baseline) if model.baseline else None,
        )

    def _baseline_facts(self, decided: Decisions, baseline: str) -> BaselineFacts:
        return against_baseline(self.rule, self.truth, decided, self.told[baseline], self.config.confidence)


def _parity(model: str, found: MeasuredParity, digests: Mapping[str, str]) -> ParityCriterion:
    """Parity as export measured it; it vouches for the very files that were run then, and for no others."""
    same = all(digests.get(file) == digest for file, digest in found.sha256.items())
    return ParityCriterion(
        model=model,
        file=found.file,
        statement=found.statement,
        target=found.target,
        verdict="PASS" if same and found.largest <= found.target else "FAIL",
        n=found.n,
        largest=found.largest,
    )
