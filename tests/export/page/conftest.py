"""A release folder with a page."""

from pathlib import Path

import pytest

from data.labels import LabelSet
from export.golden.write import write_golden
from export.page.write import Page
from export.points.fit import FittedPoint
from export.points.record import FileRule, ThresholdsRecord
from export.release import RGB
from export.rgb import write_rgb
from models.decision import DecisionRule
from models.spec import InputSpec
from tests.export.random_models import exported

HOSTILE = LabelSet(
    ("mild", "<img src=x onerror=alert(1)>", "=cmd|'/c calc'!A0", "\u202egnp.exe</script>"),
    "ordinal",
)
"""Labels that are markup, a formula, and text that turns around."""


def point(name: str, threshold: float) -> FittedPoint:
    """An operating point that promises a recall."""
    return FittedPoint(
        name=name,
        threshold=threshold,
        recall=0.9,
        confidence=0.95,
        positives=40,
        missed=2,
        negatives=60,
        flagged=9,
    )


@pytest.fixture(scope="session")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student's ONNX folder with hostile labels and an operating point; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("release") / "mini-onnx"
    (folder / "onnx").mkdir(parents=True)
    spec = InputSpec(112, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "squash", 1.0)
    model = exported(folder / "onnx", HOSTILE, spec)
    fitted = point(HOSTILE.names[2], 0.4)
    rule = DecisionRule.of_levels(HOSTILE).with_points([fitted.point])
    write_rgb(model, folder / RGB.path, rule)
    write_golden(folder / "golden", folder / RGB.path, model)
    ThresholdsRecord(labels=HOSTILE, files={"rgb.onnx": FileRule(rule, (fitted,))}).write(folder)
    Page(name="cells: mini </title>", blur=True).write(folder)
    return folder
