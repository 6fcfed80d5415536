"""Config section of INT8."""

from dataclasses import dataclass
from typing import Literal

from run.config import checking


@dataclass(frozen=True, kw_only=True)
class Int8Config:
    """The search for an INT8 file, and the conditions for shipping one."""

    mode: Literal["none", "quick", "full"] = "full"
    """``full`` tries every setting, and then leaves out layers where none is good enough; ``quick`` tries a few
    settings; ``none`` makes no INT8 file."""
    max_flip_rate: float = 0.02
    """Largest share of all images on which its decision may differ from that of its own fp32: the upper bound that the
    judged images leave has to stay at or below it, for all candidates together."""
    confidence: float = 0.95
    """Of that bound. Each candidate's own is higher: the risk that is left is divided by their number."""
    min_speedup: float = 1.0
    """Its time for one image on one thread must be less than that of fp32 divided by this."""
    images: int = 256
    """Training images from which the ranges of activations are taken."""
    judged: int = 1000
    """Most images to judge on, one of each group of duplicates: those of the validation split, and of the calibration
    split where no operating point is asked for."""
    exclude_layers: int = 5
    """Most layers that may stay in fp32, those that cost most first."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            require("max_flip_rate", lambda: 0 < self.max_flip_rate < 1, "above 0 and below 1")
            require("confidence", lambda: 0.5 < self.confidence < 1, "above 0.5 and below 1")
            require("min_speedup", lambda: self.min_speedup > 0, "above 0")
            require("images", lambda: self.images >= 1, "1 or more")
            require("judged", lambda: self.judged >= 1, "1 or more")
            require("exclude_layers", lambda: self.exclude_layers >= 0, "0 or more")
