"""From evidence to a verdict, the same for whoever judges and for whoever checks a certificate. Pure functions."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from verify.evidence import (
    Beats,
    Claim,
    Criterion,
    Evidence,
    Finite,
    Images,
    Informed,
    Largest,
    Mean,
    Noise,
    Pairs,
    Said,
    Share,
    Verdict,
)
from verify.statistics import Proportion, bernstein, fisher, mcnemar, tango

FEWEST = 30
"""With fewer images, nothing fails because of what was not seen."""

MOST_IMAGES = 10_000_000
"""The search for the number of images that would decide gives up here."""


def judge_claims(claims: Sequence[Claim], confidence: float) -> tuple[Criterion, ...]:
    """Judge every claim at this confidence."""
    together = confidence_together(claims, confidence)
    return tuple(judge_claim(claim, confidence, together) for claim in claims)


def confidence_together(claims: Sequence[Claim], confidence: float) -> float:
    """Confidence at which each of these claims' bounds has to be taken for all of them to hold at once (Bonferroni)."""
    lines = sum(not isinstance(claim.evidence, Said | Finite | Largest) for claim in claims)
    return 1 - (1 - confidence) / max(lines, 1)


def judge_claim(claim: Claim, confidence: float, together: float) -> Criterion:
    """Judge one claim; of a criterion that was judged before, nothing but its claim is looked at.

    Near-duplicates are no independent draws, and which of them count is a choice: of all counts, the strictest decides.
    """
    found = {claim.counted: claim.evidence, **claim.recounts}
    own = 1 - (1 - confidence) / claim.shared_by
    counts = [
        replace(claim, counted=count, evidence=one, recounts={name: found[name] for name in found if name != count})
        for count, one in found.items()
    ]
    return min((_judged(one, own, together) for one in counts), key=_support)


def _support(criterion: Criterion) -> tuple[int, float]:
    """The verdict, and how far the evidence speaks for the claim."""
    bound = criterion.lower if criterion.side == "at least" else criterion.upper
    sign = 1 if criterion.side == "at least" else -1
    strength = sign * bound if bound is not None else -(criterion.p_value or 0.0)
    return ("FAIL", "INCONCLUSIVE", "PASS").index(criterion.verdict), strength


def _judged(claim: Claim, confidence: float, together: float) -> Criterion:
    evidence = claim.evidence
    lower, upper = bounds(evidence, confidence) or (None, None)
    lower_together, upper_together = bounds(evidence, together) or (None, None)
    return Criterion(
        **{field.name: getattr(claim, field.name) for field in fields(Claim)},
        value=value(evidence),
        lower=lower,
        upper=upper,
        lower_together=lower_together,
        upper_together=upper_together,
        p_value=p_value(evidence),
        confidence=confidence,
        verdict=verdict(claim, confidence),
        more_images=more_images(claim, confidence),
    )


def overall(criteria: Sequence[Criterion]) -> Verdict:
    """FAIL if anything fails that decides, PASS if everything passes that must, else INCONCLUSIVE.

    Every criterion has to pass on its own, so no correction for their number is needed (an intersection-union test).
    """
    deciding = [one for one in criteria if one.tier != "reported"]
    if any(one.verdict == "FAIL" for one in deciding):
        return "FAIL"
    return "PASS" if all(one.verdict == "PASS" for one in deciding if one.tier == "must pass") else "INCONCLUSIVE"


def all_of(verdicts: Sequence[Verdict]) -> Verdict:
    """FAIL if one fails, PASS if all pass, else INCONCLUSIVE."""
    if "FAIL" in verdicts:
        return "FAIL"
    return "INCONCLUSIVE" if "INCONCLUSIVE" in verdicts else "PASS"


def verdict(claim: Claim, confidence: float) -> Verdict:
    """PASS where the evidence shows the claim at this confidence, FAIL where it shows the contrary."""
    evidence = claim.evidence
    found = bounds(evidence, confidence)
    if found is not None:
        sign = 1 if claim.side == "at least" else -1
        worst, best = sorted(sign * bound for bound in found)
        if worst >= sign * claim.limit:
            return "PASS"
        return "FAIL" if best < sign * claim.limit else "INCONCLUSIVE"
    match evidence:
        case Beats() | Informed():
            return _of_test(evidence, confidence)
        case Said():
            return "FAIL" if evidence.said == 0 and evidence.positives >= FEWEST else "PASS"
        case Noise():
            return "PASS" if evidence.error <= evidence.band else "FAIL"
        case Largest() if not evidence.same_files:
            return "FAIL"
    observed = value(evidence)
    # Not the other way round: a comparison with what is not a number is false.
    return "PASS" if observed is not None and observed <= claim.limit else "FAIL"


def _of_test(evidence: Beats | Informed, confidence: float) -> Verdict:
    p = p_value(evidence)
    assert p is not None
    if p <= 1 - confidence:
        return "PASS"
    least = evidence.n if isinstance(evidence, Beats) else min(evidence.positives, evidence.negatives)
    # A test can never show that there is no effect. Not even a trace of one, over enough images, is taken for none.
    return "FAIL" if (value(evidence) or 0) <= 0 and least >= FEWEST else "INCONCLUSIVE"


def value(evidence: Evidence) -> float | None:
    """The observed value; null without an image."""
    match evidence:
        case Share():
            return evidence.count / evidence.n if evidence.n else None
        case Pairs() | Beats():
            return (evidence.gained - evidence.lost) / evidence.n if evidence.n else None
        case Informed():
            if not evidence.positives or not evidence.negatives:
                return None
            return evidence.hits / evidence.positives - evidence.false_alarms / evidence.negatives
        case Said():
            return float(evidence.said)
        case Finite():
            return float(evidence.count)
        case Largest():
            return evidence.largest / evidence.spread if evidence.spread else 0.0 if not evidence.largest else None
        case Mean():
            return evidence.mean if evidence.n else None
        case Noise():
            return evidence.error


def bounds(evidence: Evidence, confidence: float) -> tuple[float, float] | None:
    """Lower and upper bound, each with this confidence; null for evidence that is judged otherwise."""
    match evidence:
        case Share():
            found = Proportion(evidence.count, evidence.n)
            return found.lower(confidence), found.upper(confidence)
        case Pairs():
            return tango(evidence.gained, evidence.lost, evidence.n, confidence)
        case Mean():
            width = bernstein(evidence.n, evidence.variance, evidence.most - evidence.least, confidence)
            return max(evidence.least, evidence.mean - width), min(evidence.most, evidence.mean + width)
    return None


def p_value(evidence: Evidence) -> float | None:
    """P-value of the exact test; null for evidence that is judged otherwise."""
    match evidence:
        case Beats():
            return mcnemar(evidence.gained, evidence.lost)
        case Informed():
            return fisher(evidence.positives, evidence.hits, evidence.negatives, evidence.false_alarms)
    return None


def more_images(claim: Claim, confidence: float) -> int | None:
    """Number of further images that would decide, if all stayed as it is; null where no number of them would.

    Zero where the verdict is PASS or FAIL already. Of the kind of images that the claim counts.
    """
    if verdict(claim, confidence) != "INCONCLUSIVE":
        return 0
    count = images(claim.evidence)

    def decides(n: int) -> bool:
        return verdict(replace(claim, evidence=_scaled(claim.evidence, n / count)), confidence) != "INCONCLUSIVE"

    found = fewest(decides, count) if count else None
    return None if found is None else found - count


def verdict_to_come(criterion: Criterion) -> Verdict:
    """The verdict of an open criterion with ``more_images`` more, if all stayed as it is; there is such a number."""
    assert criterion.more_images is not None
    count = images(criterion.evidence)
    grown = _scaled(criterion.evidence, (count + criterion.more_images) / count)
    return verdict(replace(criterion, evidence=grown), criterion.confidence)


def fewest(holds: Callable[[int], bool], start: int) -> int | None:
    """The first number from ``start`` on for which something holds, if it then holds for all larger ones.

    Null where it is above ``MOST_IMAGES``.
    """
    low = high = start
    while not holds(high):
        low = high
        high *= 2
        if high > MOST_IMAGES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def images(evidence: Evidence) -> int:
    """Number of images that the evidence counts."""
    match evidence:
        case Informed():
            return evidence.positives + evidence.negatives
        case Said():
            return evidence.positives
    return evidence.n


def _scaled(evidence: Evidence, factor: float) -> Evidence:
    """The same evidence from ``factor`` times as many images."""
    counted = [field.name for field in fields(evidence) if field.type == Images]
    counts: dict[str, Any] = {name: factor * getattr(evidence, name) for name in counted}
    # Not rounded to whole images where a bound takes any number: the verdict would come and go as n grows.
    if isinstance(evidence, Beats | Informed):
        counts = {name: round(count) for name, count in counts.items()}
    return replace(evidence, **counts)
