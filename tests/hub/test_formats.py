import pytest

from export.formats.record import Converted, FormatsRecord, NotWritten, Ran
from export.release import Release
from hub.card import fill
from hub.config import HubConfig
from hub.subject import Subject
from run.folder import RunFolder
from verify.certificate import Certificate

OPENVINO = Ran(
    title="OpenVINO",
    file="openvino/model.xml",
    made_with="openvino 2026.4",
    largest_logit=3e-5,
    spread=2.0,
    largest=2e-6,
    target=1e-4,
    ms=1.24,
    onnx_ms=1.9,
    threads=1,
    bytes=4_200_000,
    sha256={},
)
COREML = Converted(
    title="Core ML", file="coreml/model.mlpackage", made_with="coremltools 9.0", bytes=4_100_000, sha256={}
)
FAILED = NotWritten(
    title="ExecuTorch",
    file="executorch/model.pte",
    made_with="executorch 1.5",
    why_not="a probability differs by 0.02",
)


@pytest.fixture
def subject(finished_run: RunFolder, certificate: Certificate) -> Subject:
    return Subject(Release(finished_run.release).model("mini"), True, HubConfig(repo="me/x"), certificate)


def said(subject: Subject, *found: Ran | Converted | NotWritten) -> str:
    return formats(subject, record_of(subject, *found))


def formats(subject: Subject, record: FormatsRecord | None) -> str:
    return fill("formats", subject=subject, formats=record)


def record_of(subject: Subject, *found: Ran | Converted | NotWritten) -> FormatsRecord:
    return FormatsRecord(
        rule=subject.rule,
        spec=subject.spec,
        temperature=1.0,
        compared_with="onnx/model.onnx",
        images=13,
        processor="some CPU",
        formats={attempt.title: attempt for attempt in found},
    )


def test_formats__a_row_for_what_was_run_and_for_what_was_not(subject: Subject) -> None:
    text = said(subject, OPENVINO, COREML)
    assert "| `openvino/model.xml` | ran in openvino 2026.4 | 3.0e-05 | 2.0e-06 | 1.2 | 1.9 | 4.2 |" in text
    assert "| `coreml/model.mlpackage` | converted, not run (coremltools 9.0) |  |  |  |  | 4.1 |" in text
    assert "Core ML was converted and not run" in text
    assert "float32 [1, 3, 64, 64]" in text
    assert "was converted and not run" not in said(subject, OPENVINO)


def test_formats__what_is_missing_and_why(subject: Subject) -> None:
    assert "* No file for ExecuTorch: a probability differs by 0.02" in said(subject, OPENVINO, FAILED)
    assert "| file" not in said(subject, FAILED)


def test_formats__nothing_to_say(subject: Subject) -> None:
    assert formats(subject, None) == ""
