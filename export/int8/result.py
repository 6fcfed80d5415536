"""The record of an INT8 sweep, ``int8.json``: settings that were tried, measurements of each, the file that shipped."""

from dataclasses import asdict, dataclass
from typing import ClassVar

from export.divergence import Divergence
from export.records import Record
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
        """The settings alone."""
        return Candidate(self.method, self.per_channel, self.activation, self.excluded)


@dataclass(frozen=True, kw_only=True)
class Winner(Row):
    """The candidate that was shipped, with the final size of its file."""

    sha256: str


@dataclass(frozen=True)
class Gate:
    """Limits that a candidate has to keep."""

    max_flip_rate: float
    min_speedup: float


@dataclass(frozen=True)
class ImageCounts:
    """Calibration images that gave the ranges of activations, and those that judged."""

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
    fp32: Fp32Row
    winner: Winner | None
    candidates: tuple[Row | FailedRow, ...]
    layer_costs: tuple[LayerCost, ...]
    """The costliest first; empty where no layer had to be left out."""

    @property
    def reason(self) -> str:
        """One sentence on what is shipped."""
        gate = f"at most {self.gate.max_flip_rate:.2%} of decisions changed and faster than fp32 on this CPU"
        count = len(self.candidates)
        if self.winner is None:
            return f"no INT8 file: none of {count} candidates passed the gate ({gate})"
        passed = sum(row.why_not is None for row in self.candidates)
        return f"{passed} of {count} candidates passed the gate ({gate}): the closest to fp32 of the fast ones"

    def to_json(self) -> dict[str, Json]:
        """All fields, and what they come to in words."""
        return {"shipped": self.winner is not None, "reason": self.reason, **asdict(self)}
