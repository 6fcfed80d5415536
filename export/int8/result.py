"""The record of an INT8 sweep, ``int8.json``: settings that were tried, measurements of each, the file that shipped.

Where nothing was tried, the record says why.
"""

from dataclasses import asdict, dataclass
from typing import ClassVar

from data.bounds import images_needed
from export.divergence import Divergence
from export.int8.config import Int8Config
from export.records import Record
from run.figures import percent
from run.files import Json


@dataclass(frozen=True)
class Candidate:
    """The settings of one INT8 file."""

    method: str
    """``MinMax``, ``Entropy`` or ``Percentile`` for static ranges; ``dynamic``; ``weight-only``."""
    per_channel: bool
    """One scale for each output channel of a weight, not one for all."""
    activation: str
    """Type of activations: ``QUInt8`` or ``QInt8``, or ``float32`` where only weights are quantized."""
    excluded: tuple[str, ...] = ()
    """Nodes left in fp32."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Quality on the judged images that have a label."""

    labeled: int
    """Images with one true label, or one true set of labels."""
    accuracy: float | None
    """Share of decisions that are those of the label; null where no image has one."""
    nll: float | None
    """Cross-entropy in nats."""


@dataclass(frozen=True, kw_only=True)
class Fp32Row(Quality):
    """The fp32 file, to be compared with."""

    bytes: int


@dataclass(frozen=True, kw_only=True)
class FailedRow(Candidate):
    """A candidate that could not be made or run, or whose logits are not finite."""

    why_not: str


@dataclass(frozen=True, kw_only=True)
class Row(Quality, Divergence, Candidate):
    """A candidate that was measured on the judged images."""

    most_flips: float
    """Upper bound of the rate of flips, at the gate's confidence."""
    temperature: float
    """Its own, fitted over every labeled image."""
    bytes: int
    fp32_ms: float | None = None
    """Median of fp32 in the same race; both times are null where the file is too far from fp32 to be timed."""
    ms: float | None = None
    why_not: str | None = None
    """Null where it passes the gate."""

    @property
    def candidate(self) -> Candidate:
        return Candidate(self.method, self.per_channel, self.activation, self.excluded)

    def shown(self, answer: str = "decision") -> str:
        """Its flips in words, and what they leave possible."""
        most = percent(self.most_flips, "at most", digits=2)
        return f"{self.flips} of {self.n} images change their {answer}: up to {most} of all"


@dataclass(frozen=True, kw_only=True)
class Winner(Row):
    """The candidate that was shipped, with the final size of its file."""

    sha256: str


@dataclass(frozen=True)
class Gate:
    """Limits that a candidate has to keep."""

    max_flip_rate: float
    """Largest upper bound of the rate of flips."""
    min_speedup: float
    overall: float
    """Confidence that no candidate passes that flips more, whichever is taken."""
    confidence: float
    """Of each candidate's own bound."""
    tries: int
    """Candidates that ``overall`` is shared by, also those that were not needed."""

    @classmethod
    def of(cls, config: Int8Config, tries: int) -> "Gate":
        """The gate of a sweep over so many candidates (Bonferroni)."""
        each = 1 - (1 - config.confidence) / max(1, tries)
        return cls(config.max_flip_rate, config.min_speedup, config.confidence, each, tries)

    @property
    def images_needed(self) -> int:
        """Judged images that let a candidate without any flip pass."""
        return images_needed(self.max_flip_rate, self.confidence)


@dataclass(frozen=True)
class ImageCounts:
    """Training images that gave the ranges of activations, and others that judged."""

    ranges: int
    judged: int


@dataclass(frozen=True)
class LayerCost:
    """Divergence from fp32 in nats where these nodes alone are quantized."""

    nodes: tuple[str, ...]
    kl: float


@dataclass(frozen=True, kw_only=True)
class Int8Result(Record):
    """A whole sweep. All of it but the times is the same each time on the same machine."""

    FILE: ClassVar[str] = "int8.json"

    processor: str
    gate: Gate
    images: ImageCounts
    not_tried: str | None = None
    """Reason why nothing was tried; null where it was."""
    fp32: Fp32Row | None = None
    """Null where nothing was tried."""
    winner: Winner | None = None
    candidates: tuple[Row | FailedRow, ...] = ()
    layer_costs: tuple[LayerCost, ...] = ()
    """The costliest first; empty where no layer had to be left out."""

    @property
    def reason(self) -> str:
        """One sentence on what is shipped."""
        if self.not_tried is not None:
            return f"no INT8 file: {self.not_tried}"
        gate = (
            f"at most {self.gate.max_flip_rate:.2%} of decisions changed, shown with {self.gate.overall:.0%} "
            f"confidence for {self.gate.tries} candidates on {self.images.judged:,} images, and faster than fp32 on "
            "this CPU"
        )
        count = len(self.candidates)
        passed = sum(row.why_not is None for row in self.candidates)
        if self.winner is not None:
            best = f"the closest to fp32 of the fast ones: {self.winner.shown()}"
            return f"{passed} of {count} candidates passed the gate ({gate}): {best}"
        measured = [row for row in self.candidates if isinstance(row, Row)]
        closest = min(measured, key=lambda row: row.most_flips, default=None)
        least = "" if closest is None else f"; of the one that flips least, {closest.shown()}"
        # Where layers were left out, the search ended at its own limit.
        edge = "; with more layers in fp32 (export.int8.exclude_layers) one might pass"
        more = edge if any(row.excluded for row in self.candidates) else ""
        return f"no INT8 file: none of {count} candidates passed the gate ({gate}){least}{more}"

    def to_json(self) -> dict[str, Json]:
        return {"shipped": self.winner is not None, "reason": self.reason, **asdict(self)}
