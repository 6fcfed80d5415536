"""The record of export's own checks of one model's files, ``parity.json``."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.divergence import Divergence
from export.records import read_record, record_of
from export.release import FP16, FP32, RGB
from run.files import Json, write_json

PARITY_RECORD = "parity.json"


@dataclass(frozen=True, kw_only=True)
class Parity:
    """An exported file against PyTorch."""

    n: int
    """Images compared."""
    batches: tuple[int, ...]
    largest: float
    """Difference of a probability."""
    largest_logit: float
    target: float
    sha256: str
    """Of the file that was run."""


@dataclass(frozen=True, kw_only=True)
class RgbParity:
    """An ``rgb.onnx`` against its float32 body and Python's preprocessing."""

    n: int
    largest: float
    """Difference of a probability."""
    target: float


@dataclass(frozen=True, kw_only=True)
class Fp16Facts(Divergence):
    """Measurements of an fp16 file on the calibration images."""

    largest_inside: float
    """The largest inner number of the fp32 file, which must stay below 65504."""
    bytes: int
    sha256: str


@dataclass(frozen=True)
class NotWritten:
    """No file, and the reason."""

    why_not: str


@dataclass(frozen=True)
class ParityRecord:
    """Export's own checks of one model's files."""

    reference: Parity
    fp16: Fp16Facts | NotWritten | None
    """Null where fp16 was not asked for."""
    rgb: RgbParity

    def write(self, folder: Path) -> None:
        """Write ``parity.json`` into an ONNX folder."""
        fp16: dict[str, Json] = {} if self.fp16 is None else {FP16.path.as_posix(): asdict(self.fp16)}
        reference = {FP32.path.as_posix(): asdict(self.reference)}
        write_json(folder / PARITY_RECORD, {**reference, **fp16, RGB.path.as_posix(): asdict(self.rgb)})

    @classmethod
    def read(cls, folder: Path) -> "ParityRecord":
        """The record in an ONNX folder.

        Raises:
            UserError: it is missing or damaged.
        """
        return read_record(folder / PARITY_RECORD, cls._of_json)

    @classmethod
    def _of_json(cls, stored: Mapping[str, Any]) -> "ParityRecord":
        fp16 = stored.get(FP16.path.as_posix())
        return cls(
            reference=record_of(Parity, stored[FP32.path.as_posix()]),
            fp16=None if fp16 is None else _fp16_of(fp16),
            rgb=record_of(RgbParity, stored[RGB.path.as_posix()]),
        )


def _fp16_of(stored: Mapping[str, Any]) -> Fp16Facts | NotWritten:
    return record_of(NotWritten, stored) if "why_not" in stored else record_of(Fp16Facts, stored)
