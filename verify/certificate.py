"""The certificate: everything that is claimed of a release. This module alone writes and reads ``certificate.json``."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from data.labels import LabelSet
from run.errors import UserError, listed
from run.files import write_json

SCHEMA: Literal[2] = 2
"""Raised whenever a reader of the JSON would have to change."""

CERTIFICATE = "certificate.json"

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of independent images, with exact bounds (Clopper and Pearson 1934)."""

    n: int
    count: int
    rate: float
    lower: float
    upper: float
    confidence: float
    """Of the interval between the bounds; in a criterion, of each bound by itself."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Images on which only one of two models is right, and the difference of their accuracies."""

    n: int
    gained: int
    lost: int
    rate: float
    lower: float
    upper: float
    confidence: float
    mcnemar_p: float


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds for one image, one at a time."""

    p50: float
    p95: float
    threads: int
    runs: int


@dataclass(frozen=True, kw_only=True)
class OrdinalFacts:
    """Errors of ordered labels: distance and side."""

    quadratic_kappa: float | None
    """Null where truth and model only ever say one label, the same."""
    mean_absolute_error: float
    """In labels."""
    under_call: Mapping[int, Rate]
    """By steps: images called at least so many labels too mild."""
    over_call: Mapping[int, Rate]
    """By steps: images called at least so many labels too severe."""


@dataclass(frozen=True, kw_only=True)
class LabelFacts:
    """One label against all others; null where undefined."""

    label: str
    positives: int
    """Images that have the label."""
    precision: float | None
    recall: float | None
    f1: float | None
    confusion: tuple[int, int, int, int]
    """True negatives, false positives, false negatives, true positives."""


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """Measurements of one exported file."""

    bytes: int
    accuracy: Rate
    """Right in every label."""
    macro_f1: float | None
    """Over the labels that the test split has; null where it has none."""
    ordinal: OrdinalFacts | None
    """Of ordered labels."""
    agreement: Rate
    """With the teacher's float32 file, in every label."""
    agreement_by_label: Mapping[str, Rate] | None
    """Of a multilabel set."""
    latency_ms: Latency


@dataclass(frozen=True, kw_only=True)
class BaselineFacts:
    """The same student trained on labels alone, and what distillation added."""

    accuracy: Rate
    gain: Gain


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Measurements of a model: of each of its files, and in detail of the one that stands for it."""

    role: Literal["teacher", "student"]
    file: str
    """The float32 file, as a path below the release."""
    per_label: tuple[LabelFacts, ...]
    confusion: tuple[tuple[int, ...], ...] | None
    """Images by [true label][decided label], where labels exclude each other."""
    temperature: float
    """Fitted on the calibration split; it is in the weights."""
    files: Mapping[str, FileFacts]
    baseline: BaselineFacts | None

    def __post_init__(self) -> None:
        if self.file not in self.files:
            raise ValueError(f"{self.file} stands for the model and is not among its files")

    @property
    def reference(self) -> FileFacts:
        """Measurements of the float32 file."""
        return self.files[self.file]


@dataclass(frozen=True, kw_only=True)
class _Criterion:
    model: str
    file: str
    """Path below the release."""
    statement: str
    """The figures in words."""
    target: float
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class RateCriterion(Rate, _Criterion):
    """A share of test images whose lower bound has to reach the target."""

    name: Literal["agreement"]
    more_images: int | None
    """Test images still needed for a verdict, at this rate; null where no number of them would do."""


@dataclass(frozen=True, kw_only=True)
class ParityCriterion(_Criterion):
    """The largest difference of a probability between two runtimes, as export measured it on this very file."""

    name: Literal["parity"] = "parity"
    n: int
    largest: float


Criterion: TypeAlias = RateCriterion | ParityCriterion


@dataclass(frozen=True, kw_only=True)
class Majority:
    """The most frequent truth, and the accuracy of always answering it."""

    labels: tuple[str, ...]
    """One label, or any number of a multilabel set."""
    count: int
    n: int
    rate: float


@dataclass(frozen=True, kw_only=True)
class SplitFacts:
    """The test split."""

    images: int
    groups: int
    """Groups of duplicates; one image of each is judged, because exact bounds need independent draws."""
    majority: Majority


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Measurements of a release on the test split, and the verdict.

    Example:
        >>> certificate = Certificate.read(Path("outputs/demo/verify/certificate.json"))
        >>> certificate.verdict, certificate.models["teacher"].reference.accuracy.rate
        ('PASS', 0.65)
    """

    # Pydantic's default passes over keys it does not know: a claim that nobody reads would look as if it were checked.
    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    format: Literal[2] = SCHEMA
    verdict: Verdict
    name: str
    """Of the run."""
    labels: LabelSet
    labels_digest: str
    test: SplitFacts
    criteria: tuple[Annotated[Criterion, Field(discriminator="name")], ...]
    models: Mapping[str, ModelFacts]
    files: Mapping[str, str]
    """SHA-256 of every model file that was judged, by path below the release."""

    def agreements(self) -> list[RateCriterion]:
        """The criteria on agreement with the teacher."""
        return [found for found in self.criteria if isinstance(found, RateCriterion)]

    def agreement(self, file: str) -> RateCriterion | None:
        """The criterion on a file's agreement; null for the file that the others are compared with."""
        return next((found for found in self.agreements() if found.file == file), None)

    def parity(self, file: str) -> ParityCriterion | None:
        """The criterion on a file's parity; null where none was measured."""
        parities = (found for found in self.criteria if isinstance(found, ParityCriterion))
        return next((found for found in parities if found.file == file), None)

    def write(self, path: Path) -> None:
        """Write it as JSON, atomically."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Certificate":
        """Read what ``write`` wrote.

        Raises:
            UserError: it is not JSON, of another schema version, or lacks something.
        """
        text = path.read_text(encoding="utf-8")
        try:
            content = json.loads(text)
        except ValueError as error:
            raise UserError(f"{path} is not JSON ({error}): run `pocketeva verify` again") from None
        version = content.get("format") if isinstance(content, dict) else None
        # Before anything else is looked at: of another version's keys there would be dozens of complaints.
        if version != SCHEMA:
            raise UserError(
                f"{path} has schema version {version}, and this version of PocketEVA reads {SCHEMA}: "
                "run `pocketeva verify` again"
            )
        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            mistakes = (f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
            raise UserError(
                f"{path} is not as `pocketeva verify` writes it; run it again:\n{listed(mistakes)}"
            ) from None
