from pathlib import Path
from typing import Any

import pytest

import pocketeva
from data.config import LabelsConfig
from export.points.config import DecisionConfig, PointConfig
from tests import finished

NAMES = finished.settings()["labels"]["names"]


def write(root: Path, kind: str, verify: dict[str, Any]) -> Path:
    config = finished.settings()
    config["labels"]["kind"] = kind
    config["verify"] = verify
    return finished.write_config(root, config)


def decision(root: Path, kind: str, verify: dict[str, Any]) -> DecisionConfig:
    return pocketeva.Run(pocketeva.read_config(write(root, kind, verify))).decision


def test_decision__of_a_config(tmp_path: Path) -> None:
    found = decision(tmp_path, "ordinal", {"operating_points": [{"level": NAMES[3], "recall": 0.9}]})
    assert found == DecisionConfig(method="levels", points=(PointConfig(level=NAMES[3], recall=0.9),))
    assert decision(tmp_path, "ordinal", {}).method == "argmax"
    assert decision(tmp_path, "ordinal", {"decision": "levels"}).method == "levels"
    labeled = {"operating_points": [{"label": NAMES[0], "fpr": 0.1}], "prevalence": {NAMES[0]: 0.01}}
    assert decision(tmp_path, "nominal", labeled).method == "argmax"


WORST = NAMES[3]


@pytest.mark.parametrize(
    ("kind", "verify", "said"),
    [
        (
            "nominal",
            {"operating_points": [{"label": "unheard", "recall": 0.9}]},
            "[0].label is unheard; it must be",
        ),
        ("ordinal", {"operating_points": [{"level": NAMES[0], "recall": 0.9}]}, "operating_points[0].level is "),
        ("ordinal", {"operating_points": [{"label": WORST, "recall": 0.9}]}, "labels are ordinal: give level instead"),
        ("nominal", {"operating_points": [{"level": WORST, "recall": 0.9}]}, "labels are nominal: give label instead"),
        (
            "nominal",
            {"operating_points": [{"label": WORST}]},
            "[0].recall is null; it must be a number",
        ),
        ("nominal", {"operating_points": [{"label": WORST, "recall": 1.2}]}, "[0].recall is 1.2; it must be between"),
        ("nominal", {"operating_points": [{"label": WORST, "fpr": 0.0}]}, "[0].fpr is 0.0; it must be between 0 and 1"),
        ("nominal", {"operating_points": [{"label": WORST, "fpr": fpr} for fpr in (0.1, 0.2)]}, "[1].label is "),
        ("nominal", {"decision": "levels"}, "verify.decision is levels; it must be argmax or null"),
        (
            "ordinal",
            {"decision": "argmax", "operating_points": [{"level": WORST, "fpr": 0.1}]},
            "verify.decision is argmax; it must be levels or null",
        ),
        ("nominal", {"prevalence": {"unheard": 0.1}}, "verify.prevalence is "),
        ("nominal", {"prevalence": {NAMES[0]: 1.5}}, "verify.prevalence is "),
        (
            "nominal",
            {"profile": "safety"},
            "verify.operating_points is []; it must be a point or more where verify.prof",
        ),
        ("nominal", {"agreement": 1.5}, "verify.agreement is 1.5; it must be between 0 and 1"),
    ],
)
def test_config__what_is_wrong_with_the_decision_ends_with_2_and_names_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, verify: dict[str, Any], said: str
) -> None:
    assert pocketeva.main(["prepare", str(write(tmp_path, kind, verify))]) == pocketeva.WRONG_INPUT
    assert said in " ".join(capsys.readouterr().err.split())


def test_risk__is_shared_over_points_and_sides() -> None:
    points = (PointConfig(label="a", recall=0.9, fpr=0.1), PointConfig(label="b", recall=0.9))
    asked = DecisionConfig.of(None, points, LabelsConfig(names=["a", "b"]))
    assert [asked.risk(point) for point in points] == pytest.approx([0.0125, 0.025])
