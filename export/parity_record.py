"""The record of export's own checks of one model's files, ``parity.json``."""

from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from export.divergence import Divergence
from export.records import Record
from export.release import FP16, FP32, RGB
from run.files import Json

LOGITS = 10
"""Times ``export.parity`` that a logit may differ by, as a share of the logits' spread."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """An exported file against PyTorch."""

    n: int
    """Images compared."""
    batches: tuple[int, ...]
    largest: float
    """Difference of a probability."""
    largest_logit: float
    """Difference of a logit."""
    spread: float
    """Standard deviation of PyTorch's logits."""
    target: float
    sha256: str
    """Of the file that was run."""
    weights: str
    """SHA-256 of the ``model.safetensors`` that PyTorch ran."""


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
class ParityRecord(Record):
    """Export's own checks of one model's files, each under the file's path."""

    FILE: ClassVar[str] = "parity.json"

    reference: Annotated[Parity, Field(alias=FP32.path.as_posix())]
    rgb: Annotated[RgbParity, Field(alias=RGB.path.as_posix())]
    fp16: Annotated[Fp16Facts | NotWritten | None, Field(alias=FP16.path.as_posix())] = None
    """Null in a record of before version 0.2 where fp16 was not asked for."""

    def to_json(self) -> dict[str, Json]:
        """Checks by path, without those that were not asked for."""
        checks = {FP32: self.reference, FP16: self.fp16, RGB: self.rgb}
        return {kind.path.as_posix(): asdict(check) for kind, check in checks.items() if check is not None}
