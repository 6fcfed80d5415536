"""Config section of the verification."""

from dataclasses import dataclass
from typing import Literal

from run.config import checking


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """Criteria that a release must meet on the test split."""

    agreement: float = 0.95
    """Share of images on which each exported student's first choice, or set of labels, must be the exported teacher's:
    the lower bound has to reach it."""
    confidence: float = 0.95
    """Of each criterion, and of the intervals in the report. Criteria are stricter by how often the test split was used
    before (docs/certificate.md)."""
    conversion: float = 0.02
    """Largest share of images on which another file of a model may decide something else than its own float32: the
    upper bound has to stay below it."""
    accept: tuple[str, ...] = ()
    """Labels that a model may never say; the card says so at its top."""
    profile: Literal["default", "safety"] = "default"
    """``safety`` has to pass what may otherwise stay open too: recall, dangerous flips, slices, likelihood and
    calibration. docs/certificate.md lists them."""

    slices: tuple[str, ...] = ()
    """Columns of the label file whose values divide the test images, such as the source or the device (keys beside the
    image in coco and label_studio; ``type`` in elpv). No part with 30 images or more may fail on agreement. The values
    are published with the certificate."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            require("agreement", lambda: 0 < self.agreement < 1, "between 0 and 1")
            require("conversion", lambda: 0 < self.conversion < 1, "between 0 and 1")
            require("confidence", lambda: 0.5 < self.confidence < 1, "above 0.5 and below 1")
