from dataclasses import replace
from typing import Any

import pytest

from export.release import Release
from hub.config import HubConfig
from hub.formats import formats
from hub.subject import Subject
from run.folder import RunFolder
from verify.certificate import Certificate

RAN = {
    "title": "OpenVINO",
    "file": "openvino/model.xml",
    "made_with": "openvino 2026.4",
    "status": "ran",
    "largest_logit": 3e-5,
    "largest": 2e-6,
    "ms": 1.24,
    "onnx_ms": 1.9,
    "bytes": 4_200_000,
}
CONVERTED = {
    "title": "Core ML",
    "file": "coreml/model.mlpackage",
    "made_with": "coremltools 9.0",
    "status": "converted, not run",
    "bytes": 4_100_000,
}
FAILED = {
    "title": "ExecuTorch",
    "file": "executorch/model.pte",
    "made_with": "executorch 1.5",
    "status": "not written",
    "why_not": "a probability differs by 0.02",
}


@pytest.fixture
def subject(finished_run: RunFolder, certificate: Certificate) -> Subject:
    return Subject(Release(finished_run.release).model("mini"), True, HubConfig(repo="me/x"), certificate)


def said(subject: Subject, *found: dict[str, Any]) -> str:
    content = {
        "compared_with": "onnx/model.onnx",
        "images": 13,
        "processor": "some CPU",
        "formats": {row["title"]: row for row in found},
    }
    return formats(subject, content)


def test_formats__a_row_for_what_was_run_and_for_what_was_not(subject: Subject) -> None:
    text = said(subject, RAN, CONVERTED)
    assert "| `openvino/model.xml` | ran in openvino 2026.4 | 3.0e-05 | 2.0e-06 | 1.2 | 1.9 | 4.2 |" in text
    assert "| `coreml/model.mlpackage` | converted, not run (coremltools 9.0) |  |  |  |  | 4.1 |" in text
    assert "Core ML was converted and not run" in text
    assert "float32 [1, 3, 64, 64]" in text
    assert "was converted and not run" not in said(subject, RAN)


def test_formats__what_is_missing_and_why(subject: Subject) -> None:
    assert "* No file for ExecuTorch: a probability differs by 0.02" in said(subject, RAN, FAILED)
    assert "| file" not in said(subject, FAILED)


def test_formats__nothing_to_say(subject: Subject) -> None:
    assert formats(subject, None) == ""
    assert formats(replace(subject, certificate=None), {"formats": {}}) == ""
