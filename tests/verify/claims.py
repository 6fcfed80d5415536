"""Claims and test images made by hand or drawn by chance."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.decision import DecisionRule, Decisions
from tests.support import FOUR
from verify.config import VerifyConfig
from verify.criteria import Answers, FileClaims
from verify.evidence import Claim, Criterion, Evidence
from verify.exported import ExportedModel
from verify.verdicts import judge_claims

TEACHER = ExportedModel("teacher", "teacher", "teacher", ["teacher"], [], 1.0, None)
STUDENT = ExportedModel("mini", "student", "mini", ["mini", "int8"], [], 1.0, None)


def claim(evidence: Evidence, side: Any = "at least", limit: float = 0.0, **given: Any) -> Claim:
    """A claim that must pass about a file of the student."""
    facts: dict[str, Any] = {"name": "agreement", "tier": "must pass", "about": None, "statement": "it is so", **given}
    return Claim(model="mini", file="mini", evidence=evidence, side=side, limit=limit, **facts)


def logits_of(decided: Decisions, sure: float = 0.9) -> NDArray[np.float32]:
    """Logits [N, 4] whose softmax gives ``sure`` to the decided label and shares out the rest."""
    return np.log(np.where(np.eye(4, dtype=bool)[decided], sure, (1 - sure) / 3)).astype(np.float32)


def answers(truth: Decisions, **decided: Decisions) -> Answers:
    """What files decide, with the logits of ``logits_of``."""
    return Answers(
        rule=DecisionRule.of(FOUR),
        images=[f"image {number}" for number in range(len(truth))],
        targets=np.eye(4, dtype=np.float32)[truth],
        told=np.ones(len(truth), bool),
        decided=decided,
        logits={file: logits_of(said) for file, said in decided.items()},
    )


def judged(test: Answers, *files: str, config: VerifyConfig | None = None, confidence: float = 0.95) -> list[Criterion]:
    """Criteria of the student's files."""
    asked = config or VerifyConfig()
    claims = [one for file in files for one in FileClaims(test, STUDENT, file, "teacher", asked, confidence)]
    return list(judge_claims(claims, confidence))
