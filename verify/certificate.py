"""The certificate: everything that is claimed of a release. This module alone writes and reads ``certificate.json``."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from data.labels import LabelSet
from fitting.diagnosis import Note
from run.config import is_plain_name
from run.errors import UserError, listed, quoted
from run.files import json_digest, json_of, write_json
from verify.evidence import Criterion, CriterionName, Images, Positive, Probability, Verdict, is_possible

SCHEMA: Literal[4] = 4
"""Raised whenever a reader of the JSON would have to change."""

CERTIFICATE = "certificate.json"
FROM_PUBLISHER = "download it again, ask its publisher for one that this version reads, or judge your own again"
"""What to do where somebody else's certificate cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of independent images, with exact bounds (Clopper and Pearson 1934)."""

    n: Images
    count: Images
    rate: float
    lower: float
    upper: float
    confidence: float
    """Of the interval between the bounds."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Images on which only one of two models is right, and the difference of their accuracies."""

    n: Images
    gained: Images
    lost: Images
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
    processor: str = ""
    """Model of the CPU; empty where it was not kept, as by versions of before."""


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
    positives: Images
    """Images that have the label."""
    precision: float | None
    recall: float | None
    f1: float | None
    confusion: tuple[int, int, int, int]
    """True negatives, false positives, false negatives, true positives."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """Disagreements with the teacher on images of one true label, by their side; labels are ordered."""

    truth: str
    n: Images
    """Images of that label."""
    milder: Images
    """Images on which the file says something milder than the teacher."""
    severer: Images


@dataclass(frozen=True, kw_only=True)
class Flips:
    """Images on which a file and the teacher say different things."""

    truth: str
    teacher: str
    file: str
    count: Images


@dataclass(frozen=True, kw_only=True)
class SliceFacts:
    """A file on a part of the test images."""

    name: str
    """Column and value, such as ``device: phone``."""
    declared: bool
    """The config names its column."""
    judged: bool
    """It has images enough."""
    agreement: Rate
    """With the teacher's float32 file."""
    accuracy: Rate | None
    """Null where no image of it has one true label."""


@dataclass(frozen=True, kw_only=True)
class PointFacts:
    """An operating point of one file on the test split."""

    name: str
    """The label; in an ordinal set the level."""
    threshold: float
    promised_recall: float | None
    promised_fpr: float | None
    confidence: float
    """Of the promise."""
    recall: Rate | None
    """Share of the images of the label, or level, that is flagged; null where the split has none."""
    fpr: Rate | None
    """Share of all other images that is flagged; null where the split has none."""
    prevalence: float
    """Of the label or level: as asked for, else that of the test split."""
    flags_per_10000: float
    """Images flagged of 10,000 at this prevalence."""
    precision: float | None
    """Share of the flagged images, at this prevalence, that are of the label or level; null where none is flagged."""
    useless: bool
    """It flags other images nearly as often, whatever it promises."""
    verdict: Verdict
    """FAIL where the test split contradicts a promise, INCONCLUSIVE where it has no image to test one on, else PASS."""


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
    agreement_by_label: Mapping[str, Rate]
    """Agreement on images of which the teacher says this label; in a multilabel set, agreement on the label."""
    kappa: float | None
    """Agreement with the teacher beyond chance (Cohen 1960); null where chance explains everything."""
    sides: tuple[Side, ...]
    """By true label, where labels are ordered."""
    flips: tuple[Flips, ...]
    """By truth, where labels exclude each other."""
    slices: tuple[SliceFacts, ...]
    """Parts of the test images, those too that are too small to be judged."""
    points: tuple[PointFacts, ...]
    """Operating points, each at the file's own threshold."""
    latency_ms: Latency


@dataclass(frozen=True, kw_only=True)
class BaselineFacts:
    """The same student trained on labels alone, and what distillation added."""

    accuracy: Rate
    gain: Gain


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Images for which a file gives about the same probability."""

    n: Images
    said: float
    """Mean of the probabilities."""
    right: float
    """Share of the images on which what it is given for is true."""
    lower: float
    """Shares that chance alone gives where the probability is right, at the certificate's confidence for this bin."""
    upper: float


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Probabilities beside what was true, from the smallest to the largest."""

    about: str | None
    """A label of a multilabel set; null for the likeliest label of an exclusive one."""
    bins: tuple[Bin, ...]


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Measurements of a model: of each of its files, and in detail of the one that stands for it."""

    role: Literal["teacher", "student"]
    verdict: Verdict
    file: str
    """The float32 file, as a path below the release."""
    per_label: tuple[LabelFacts, ...]
    confusion: tuple[tuple[int, ...], ...] | None
    """Images by [true label][decided label], where labels exclude each other."""
    reliability: tuple[Reliability, ...]
    """In bins of as many images each, those of the calibration error."""
    temperature: float
    """Fitted on the validation split; it is in the weights."""
    files: Mapping[str, FileFacts]
    baseline: BaselineFacts | None
    notes: tuple[Note, ...]
    """Diagnoses: what looks wrong, from training and from what distillation added, and what to try."""

    def __post_init__(self) -> None:
        if self.file not in self.files:
            raise ValueError(f"{self.file} stands for the model and is not among its files")

    @property
    def reference(self) -> FileFacts:
        """Measurements of the float32 file."""
        return self.files[self.file]


@dataclass(frozen=True, kw_only=True)
class Majority:
    """The most frequent truth, and the accuracy of always answering it."""

    labels: tuple[str, ...]
    """One label, or any number of a multilabel set."""
    count: Images
    n: Images
    rate: float


@dataclass(frozen=True, kw_only=True)
class SplitFacts:
    """The test split."""

    images: Images
    groups: Images
    """Groups of duplicates; one image of each is judged, because exact bounds need independent draws."""
    clusters: Images
    """Clusters of near-duplicates; what one image of each shows is counted too, and the stricter count decides."""
    near_training: Images
    """Groups whose image is nearly the same as a training image."""
    tied: Images
    """Groups whose image has no single true label, because votes tie: it counts for agreement, and for nothing that
    takes a truth."""
    majority: Majority


@dataclass(frozen=True, kw_only=True)
class Look:
    """The number of times that the test split has been used up to this release."""

    number: Positive
    """This release is the first, second, … distinct one that was judged on images of the split."""
    confidence: Probability
    """Of each criterion: what was asked for, made stricter for the number of looks (``verify.ledger``)."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Measurements of a release on the test split, and the verdict.

    Example:
        >>> certificate = Certificate.read(Path("outputs/demo/verify/certificate.json"))
        >>> certificate.verdict, certificate.models["teacher"].reference.accuracy.rate
        ('PASS', 0.65)
    """

    # Pydantic's default passes over keys it does not know: a claim that nobody reads would look as if it were checked.
    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    format: Literal[4] = SCHEMA
    verdict: Verdict
    """PASS where every model passes, FAIL where one fails."""
    name: str
    """Of the run."""
    labels: LabelSet
    labels_digest: str
    profile: Literal["default", "safety"]
    accepted: tuple[str, ...]
    """Labels that a file may never say, as the author accepted."""
    confidence: Probability
    """Asked for; of the intervals. That of the criteria is in ``look``."""
    look: Look
    confidence_together: Probability
    """Of each bound that is to hold together with all others."""
    test: SplitFacts
    criteria: tuple[Criterion, ...]
    models: Mapping[str, ModelFacts]
    files: Mapping[str, str]
    """SHA-256 of every file of the release, by path below it, but for those that are written from the certificate."""

    def of(
        self, *, model: str | None = None, file: str | None = None, name: CriterionName | None = None
    ) -> list[Criterion]:
        """The criteria of a model, a file, a name, or of all that is given."""
        wanted = {"model": model, "file": file, "name": name}.items()
        return [one for one in self.criteria if all(value in (None, getattr(one, key)) for key, value in wanted)]

    def agreement(self, file: str) -> Criterion | None:
        """The criterion on a file's agreement; null for the teacher's."""
        return next(iter(self.of(file=file, name="agreement")), None)

    def parity(self, file: str) -> Criterion | None:
        """The criterion on a file's parity; null where none was measured."""
        return next(iter(self.of(file=file, name="parity")), None)

    def not_shown(self, model: str | None = None) -> list[Criterion]:
        """Criteria that may not fail, and that the test images do not settle."""
        return [one for one in self.of(model=model) if one.tier == "may not fail" and one.verdict == "INCONCLUSIVE"]

    def calibrated(self, file: str) -> bool:
        """True where a file's scores may be called calibrated: its calibration error is what chance alone gives."""
        found = self.of(file=file, name="calibration")
        return bool(found) and all(one.verdict == "PASS" for one in found)

    @property
    def digest(self) -> str:
        """SHA-256 of all that it says."""
        return json_digest(asdict(self))

    def write(self, path: Path) -> None:
        """Write it as JSON, atomically."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path, remedy: str = "run `pocketeva verify` again") -> "Certificate":
        """Read what ``write`` wrote.

        Args:
            remedy: what to do where it cannot be read, for the message.

        Raises:
            UserError: it is not JSON, of another schema version, or lacks something.
        """
        content = json_of(path, remedy)
        version = content.get("format") if isinstance(content, dict) else None
        # Before anything else is looked at: of another version's keys there would be dozens of complaints.
        if version != SCHEMA:
            raise UserError(
                f"{quoted(path)} has schema version {version}, and this version of PocketEVA reads {SCHEMA}: {remedy}"
            )
        try:
            # Not of the value: JSON has no tuples, and only a text may have lists in their place.
            found = TypeAdapter(cls).validate_json(path.read_bytes())
        except ValidationError as error:
            mistakes = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False)]
        else:
            mistakes = list(found._contradictions())
        if mistakes:
            raise UserError(f"{quoted(path)} is not as `pocketeva verify` writes it ({remedy}):\n{listed(mistakes)}")
        return found

    def _contradictions(self) -> Iterator[str]:
        """Contents that no release has, and that would make nonsense of whatever is computed from it."""
        try:
            LabelSet.of_json(self.labels.to_json())
        except ValueError as error:
            yield f"labels: {error}"
        if not self.models:
            yield "models: there is none"
        # Files are found by these names.
        yield from (f"models: {name!r} is no name of a model" for name in self.models if not is_plain_name(name))
        for index, one in enumerate(self.criteria):
            if one.model not in self.models:
                yield f"criteria.{index}.model: there is no model {one.model!r}"
            if not all(map(is_possible, (one.evidence, *one.recounts.values()))):
                yield f"criteria.{index}.evidence: no images can give these counts"
