"""The record of export's own checks of one model's files, ``parity.json``."""

from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from export.divergence import Divergence
from export.golden.kit import GoldenIndex
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


@dataclass(frozen=True, kw_only=True)
class OtherResize:
    """The float32 file on golden images as another library resizes them, beside those resized as in training."""

    library: str
    """With its version, for people."""
    n: int
    """Images compared."""
    largest: float
    """Difference of a probability."""
    image: str
    """The golden image that it is of."""

    @classmethod
    def of(cls, library: str, index: GoldenIndex, logits: NDArray[np.float32]) -> "OtherResize":
        """Compare with the kit.

        Args:
            library: with its version.
            logits: of its images in the library's own resize [N, C].
        """
        ours = np.array([entry.logits for entry in index.images], np.float32)
        differences = np.abs(index.rule.probabilities(logits) - index.rule.probabilities(ours)).max(axis=1)
        worst = int(differences.argmax())  # of NaN too, which is never passed over
        return cls(library=library, n=len(ours), largest=float(differences[worst]), image=index.images[worst].name)

    @property
    def words(self) -> str:
        """For cards: how far, over which images, and with what."""
        most = f"by up to {self.largest:.2g} (on `{self.image}`)"
        return f"{most} over the {self.n} images of `golden/`, with {self.library}"


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
    timm: OtherResize | None = None
    """Null in a record of before version 0.2."""

    def to_json(self) -> dict[str, Json]:
        """Checks by path, without those that were not asked for."""
        checks = {FP32: self.reference, FP16: self.fp16, RGB: self.rgb}
        by_path = {kind.path.as_posix(): check for kind, check in checks.items()}
        return {name: asdict(check) for name, check in {**by_path, "timm": self.timm}.items() if check is not None}
