"""Config section of the verification."""

from dataclasses import dataclass, field
from typing import Literal

from export.points.config import Method, PointConfig
from run.config import checking


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """Criteria that a release must meet on the test split."""

    agreement: float = 0.95
    """Share of images on which each exported student's decision, or set of labels, must be the exported teacher's:
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
    calibration; and it asks for operating points. docs/certificate.md lists them."""
    decision: Method | None = None
    """Decision of an exclusive label set: ``argmax``, the likeliest label, or for ordinal labels ``levels``, the most
    severe level whose score reaches its threshold (0.5 without an operating point). Null is ``levels`` where an ordinal
    set has operating points, else ``argmax``."""
    operating_points: list[PointConfig] = field(default_factory=list)
    """Promises that every file keeps by thresholds of its own, fitted at export on the calibration split."""
    prevalence: dict[str, float] = field(default_factory=dict)
    """By name, the share of a label, or level, where the model will be used: precision and flags per 10,000 images are
    given for it, else for the share in the test split."""

    slices: tuple[str, ...] = ()
    """Columns of the label file whose values divide the test images, such as the source or the device (keys beside the
    image in coco and label_studio; ``type`` in elpv). No part with 30 images or more may fail on agreement. The values
    are published with the certificate."""
    thumbnails: bool = False
    """Show the worst disagreements in ``verify/report.html`` as pictures, blurred until clicked. The page then holds
    images of yours. It is never published either way."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            require("agreement", lambda: 0 < self.agreement < 1, "between 0 and 1")
            require("conversion", lambda: 0 < self.conversion < 1, "between 0 and 1")
            require("confidence", lambda: 0.5 < self.confidence < 1, "above 0.5 and below 1")
            shares = "shares between 0 and 1"
            require("prevalence", lambda: all(0 < share < 1 for share in self.prevalence.values()), shares)
