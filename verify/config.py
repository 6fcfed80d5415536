"""Config section of the verification."""

from dataclasses import dataclass

from run.config import checking


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """Criteria that a release must meet on the test split."""

    agreement: float = 0.95
    """Share of images on which each exported student's first choice, or set of labels, must be the exported teacher's:
    the lower bound has to reach it."""
    confidence: float = 0.95
    """Of the one-sided bounds, and of the intervals in the report."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            require("agreement", lambda: 0 < self.agreement < 1, "between 0 and 1")
            require("confidence", lambda: 0.5 < self.confidence < 1, "above 0.5 and below 1")
