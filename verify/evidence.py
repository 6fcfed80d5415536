"""Evidence: the counts that a criterion is judged by. A verdict needs no more, so anyone can judge again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

Images = Annotated[int, Field(ge=0, le=100_000_000)]
"""A number of images. It has bounds, as all numbers have that a stranger's certificate is read with: bounds and tests
of counts that cannot be take forever, or divide by zero."""
Probability = Annotated[float, Field(gt=0, lt=1)]
"""Of being wrong, or right: neither is ever certain."""
Positive = Annotated[int, Field(ge=1, le=1_000_000)]
NotNegative = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Share:
    """``count`` of ``n`` independent images; judged by the bounds of Clopper and Pearson (1934)."""

    kind: Literal["share"] = "share"
    n: Images
    count: Images


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Images that only one of two models has right, of ``n``; judged by Tango's bounds of the difference (1998)."""

    kind: Literal["pairs"] = "pairs"
    n: Images
    gained: Images
    lost: Images


@dataclass(frozen=True, kw_only=True)
class Beats:
    """Images that only one of two answers has right, of ``n``; judged by McNemar's exact one-sided test."""

    kind: Literal["beats"] = "beats"
    n: Images
    gained: Images
    lost: Images


@dataclass(frozen=True, kw_only=True)
class Informed:
    """Counts of a label being said where it is true and where it is not; judged by Fisher's exact one-sided test."""

    kind: Literal["informed"] = "informed"
    positives: Images
    hits: Images
    negatives: Images
    false_alarms: Images


@dataclass(frozen=True, kw_only=True)
class Said:
    """Counts of a label being true, and of its being said at all."""

    kind: Literal["said"] = "said"
    positives: Images
    said: Images


@dataclass(frozen=True, kw_only=True)
class Finite:
    """Images with a score that is not a number."""

    kind: Literal["finite"] = "finite"
    n: Images
    count: Images
    images: tuple[str, ...]
    """The first of them: the beginnings of their keyed digests, because a certificate names no image."""


@dataclass(frozen=True, kw_only=True)
class Largest:
    """The largest difference of a logit between two runtimes, and the spread (standard deviation) of the logits."""

    kind: Literal["largest"] = "largest"
    n: Images
    largest: NotNegative
    spread: NotNegative
    sha256: Mapping[str, str]
    """Digests of the files that were compared, by path below the release."""
    same_files: bool
    """Those files are the ones that are released."""


@dataclass(frozen=True, kw_only=True)
class Mean:
    """Mean of ``n`` values that cannot lie outside ``least`` to ``most``; judged by an empirical Bernstein bound."""

    kind: Literal["mean"] = "mean"
    n: Images
    mean: float
    variance: NotNegative
    least: float
    most: float


@dataclass(frozen=True, kw_only=True)
class Noise:
    """An error, and the largest that chance alone would give a perfect model, at the criterion's confidence."""

    kind: Literal["noise"] = "noise"
    n: Images
    error: NotNegative
    band: NotNegative


Evidence: TypeAlias = Annotated[
    Share | Pairs | Beats | Informed | Said | Finite | Largest | Mean | Noise, Field(discriminator="kind")
]


def is_possible(evidence: Evidence) -> bool:
    """False for counts that no images can give, such as more hits than images."""
    match evidence:
        case Share() | Finite():
            return evidence.count <= evidence.n
        case Pairs() | Beats():
            return evidence.gained + evidence.lost <= evidence.n
        case Informed():
            return evidence.hits <= evidence.positives and evidence.false_alarms <= evidence.negatives
        case Mean():
            return evidence.least <= evidence.most
    return True


Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]

Tier = Literal["must pass", "may not fail", "reported"]
"""A release passes where all that must pass does, and nothing fails that may not; what is reported decides nothing."""

Direction = Literal["at least", "at most"]

CriterionName = Literal[
    "parity",
    "finite",
    "conversion",
    "agreement",
    "majority",
    "informed",
    "dead label",
    "operating point",
    "recall",
    "dangerous flips",
    "slice",
    "likelihood",
    "calibration",
]


Count = Literal["one of each group", "one of each cluster", "those unlike any in training"]
"""Images that are counted: one of each group of duplicates; one of each cluster of near-duplicates; or one of each
group that is like no training image."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim about one file, and the evidence for it."""

    name: CriterionName
    tier: Tier
    model: str
    file: str
    """Path below the release."""
    about: str | None
    """The label, the level of ordered labels, or the slice; null where the claim is about all images."""
    statement: str
    """The claim in words."""
    evidence: Evidence
    side: Direction
    limit: float
    """The claim holds on this side of it."""
    counted: Count = "one of each group"
    """The images of the evidence."""
    recounts: Mapping[Count, Evidence] = field(default_factory=dict)
    """Evidence of other counts; of all of them, the one that speaks least for the claim decides."""
    shared_by: Positive = 1
    """Claims that share the risk of being wrong."""


@dataclass(frozen=True, kw_only=True)
class Criterion(Claim):
    """One line of the certificate: a claim that was judged. All below follows from the claim and the confidence."""

    value: float | None
    """What was observed; null where there was no image."""
    lower: float | None
    """Bounds, each true with ``confidence`` by itself; null where there is none."""
    upper: float | None
    lower_together: float | None
    """Bounds at the risk shared out over all lines of the certificate: these hold for all lines at once."""
    upper_together: float | None
    p_value: float | None
    """Of an exact test, where there is no bound."""
    confidence: Probability
    """Of each bound, or of the test, by itself; higher where claims share the risk."""
    verdict: Verdict
    more_images: int | None
    """Images still needed, of those that the claim counts, for a verdict if all stayed as it is; null where no number
    of them would do."""
