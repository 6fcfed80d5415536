"""The record of an INT8 sweep, ``int8.json``: what was tried, what was measured of each, what was shipped."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.divergence import Divergence
from export.records import read_record, record_of
from run.files import Json, write_json

INT8_RECORD = "int8.json"


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

    def to_json(self) -> dict[str, Json]:
        """The settings by name."""
        return {**asdict(self), "excluded": list(self.excluded)}


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
class Measured(Quality, Divergence):
    """Measurements of one INT8 file on the judged images."""

    temperature: float
    """Its own, fitted over every labeled image."""
    bytes: int
    fp32_ms: float | None = None
    """Median of fp32 in the same race; both times are null where the file is too far from fp32 to be timed."""
    ms: float | None = None


@dataclass(frozen=True)
class Row:
    """One candidate."""

    candidate: Candidate
    measured: Measured | None
    """Null where the file could not be made or run, or gave logits that are not finite."""
    why_not: str | None
    """Null where it passes the gate."""

    def to_json(self) -> dict[str, Json]:
        """Settings and measurements side by side."""
        measured = {} if self.measured is None else asdict(self.measured)
        return {**self.candidate.to_json(), **measured, "why_not": self.why_not}

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> "Row":
        """The row that ``to_json`` described."""
        measured = record_of(Measured, stored) if "kl" in stored else None
        return cls(record_of(Candidate, stored), measured, stored["why_not"])


@dataclass(frozen=True)
class Winner:
    """The candidate that was shipped, with the final size of its file."""

    candidate: Candidate
    measured: Measured
    sha256: str

    def to_json(self) -> dict[str, Json]:
        """As its row, and the digest."""
        return {**Row(self.candidate, self.measured, None).to_json(), "sha256": self.sha256}

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> "Winner":
        """The winner that ``to_json`` described."""
        return cls(record_of(Candidate, stored), record_of(Measured, stored), stored["sha256"])


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
class Int8Result:
    """A whole sweep."""

    processor: str
    gate: Gate
    images: ImageCounts
    fp32: Fp32Row
    winner: Winner | None
    candidates: tuple[Row, ...]
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
        """All of it but the times is the same each time on the same machine."""
        return {
            "shipped": self.winner is not None,
            "reason": self.reason,
            "processor": self.processor,
            "gate": asdict(self.gate),
            "images": asdict(self.images),
            "fp32": asdict(self.fp32),
            "winner": None if self.winner is None else self.winner.to_json(),
            "candidates": [row.to_json() for row in self.candidates],
            "layer_costs": [asdict(cost) for cost in self.layer_costs],
        }

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> "Int8Result":
        """The result that ``to_json`` described."""
        return cls(
            processor=stored["processor"],
            gate=record_of(Gate, stored["gate"]),
            images=record_of(ImageCounts, stored["images"]),
            fp32=record_of(Fp32Row, stored["fp32"]),
            winner=None if stored["winner"] is None else Winner.of_json(stored["winner"]),
            candidates=tuple(map(Row.of_json, stored["candidates"])),
            layer_costs=tuple(record_of(LayerCost, cost) for cost in stored["layer_costs"]),
        )

    def write(self, folder: Path) -> None:
        """Write ``int8.json`` into an ONNX folder."""
        write_json(folder / INT8_RECORD, self.to_json())

    @classmethod
    def read(cls, folder: Path) -> "Int8Result | None":
        """The result in an ONNX folder; null where no INT8 was asked for.

        Raises:
            UserError: it is damaged.
        """
        path = folder / INT8_RECORD
        return read_record(path, cls.of_json) if path.is_file() else None
