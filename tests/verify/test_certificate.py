from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from run.errors import UserError
from tests.support import edit_json
from verify.certificate import Certificate
from verify.evidence import Largest, Share


def edited(path: Path, certificate: Certificate, edit: Callable[[dict[str, Any]], object]) -> str:
    """The refusal of a certificate whose JSON was edited."""
    certificate.write(path)
    edit_json(path, edit)
    with pytest.raises(UserError) as caught:
        Certificate.read(path)
    return str(caught.value)


def test_certificate__reads_what_it_wrote(certificate: Certificate, tmp_path: Path) -> None:
    certificate.write(tmp_path / "certificate.json")
    read = Certificate.read(tmp_path / "certificate.json")
    assert read == certificate
    assert {type(criterion.evidence) for criterion in read.criteria} >= {Share, Largest}
    assert read.models["mini"].reference.ordinal is not None
    assert set(read.models["mini"].reference.ordinal.under_call) == {1, 2}


def test_certificate__of_an_older_version_names_the_command(certificate: Certificate, tmp_path: Path) -> None:
    def older(content: dict[str, Any]) -> None:
        content["format"] = 1
        del content["test"]

    message = edited(tmp_path / "certificate.json", certificate, older)
    assert message.endswith("has schema version 1, and this version of PocketEVA reads 4: run `pocketeva verify` again")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda content: content.pop("verdict"), "verdict: Field required"),
        (lambda content: content["test"].update(images="many"), "test.images: Input should be a valid integer"),
        (lambda content: content.update(verdict="MAYBE"), "verdict: Input should be 'PASS', 'FAIL' or 'INCONCLUSIVE'"),
        (lambda content: content.update(approved=True), "approved: "),
        (lambda content: content["models"]["mini"].update(extra=1), "models.mini.extra: "),
        (lambda content: content["models"]["mini"].update(file="gone"), "gone stands for the model"),
        (lambda content: content["criteria"][0].pop("limit"), "criteria.0.limit: Field required"),
        (lambda content: content["criteria"][0].update(name="charm"), "criteria.0.name: "),
        (lambda content: content["criteria"][0]["evidence"].pop("n"), "criteria.0.evidence.largest.n: Field required"),
        (lambda content: content["criteria"][0]["evidence"].update(kind="charm"), "criteria.0.evidence: "),
        (lambda content: content["labels"].update(kind="fuzzy"), "labels.kind: "),
    ],
)
def test_certificate__damaged(
    edit: Callable[[dict[str, Any]], object], said: str, certificate: Certificate, tmp_path: Path
) -> None:
    message = edited(tmp_path / "certificate.json", certificate, edit)
    assert "certificate.json is not as `pocketeva verify` writes it (run `pocketeva verify` again):\n" in message
    assert said in message


@pytest.mark.parametrize("text", ["{", "[]", '"PASS"', "null"])
def test_certificate__not_json_or_no_object(text: str, tmp_path: Path) -> None:
    (tmp_path / "certificate.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"certificate\.json .*run `pocketeva verify` again"):
        Certificate.read(tmp_path / "certificate.json")


def test_certificate__is_not_written_with_nan(certificate: Certificate, tmp_path: Path) -> None:
    damaged = replace(certificate, criteria=(replace(certificate.criteria[0], value=float("nan")),))
    with pytest.raises(ValueError, match="not JSON compliant"):
        damaged.write(tmp_path / "certificate.json")


def test_certificate__criteria_of_a_file(certificate: Certificate) -> None:
    teacher, student = "teacher-onnx/onnx/model.onnx", "mini-onnx/onnx/model.onnx"
    found = certificate.agreement(student)
    assert found is not None
    assert (found.name, found.model, found.file) == ("agreement", "mini", student)
    assert certificate.agreement(teacher) is None
    assert certificate.parity(teacher) is not None
    assert certificate.parity("mini-onnx/rgb.onnx") is None
