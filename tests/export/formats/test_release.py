"""Formats on their way from the config to a card and a push."""

import json
from pathlib import Path

import pytest
import yaml

import pocketeva
from run.files import file_digest
from run.folder import RunFolder
from tests import finished
from verify.certificate import Certificate
from verify.seal import file_differences, files_of_release
from verify.verdicts import images

OPENVINO = "--export.formats=[openvino]"


@pytest.fixture(scope="module")
def run(finished_root: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run, exported and verified again with OpenVINO's files."""
    root = finished.copied(finished_root, tmp_path_factory.mktemp("formats") / "work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert pocketeva.main(["run", "config.yaml", OPENVINO]) == pocketeva.DONE
    return RunFolder(root / "outputs" / "quick")


@pytest.mark.parametrize("model", ["teacher", "mini"])
def test_export__formats_of_teacher_and_student(run: RunFolder, model: str) -> None:
    folder = run.release / f"{model}-onnx"
    content = json.loads((folder / "formats.json").read_text(encoding="utf-8"))
    found = content["formats"]["openvino"]
    assert found["status"] == "ran"
    assert sorted(found["sha256"]) == ["openvino/model.bin", "openvino/model.xml"]
    saved = json.loads((run.release / model / "config.json").read_text(encoding="utf-8"))["pocketeva"]
    assert content["temperature"] == saved["temperature"]


def test_verify__the_certificate_names_formats_and_what_was_measured(run: RunFolder) -> None:
    certificate = Certificate.read(run.verify / "certificate.json")
    for model in ("teacher", "mini"):
        for file in (f"{model}-onnx/openvino/model.xml", f"{model}-onnx/openvino/model.bin"):
            assert certificate.files[file] == file_digest(run.release / file)
        own = certificate.parity(f"{model}-onnx/openvino/model.xml")
        assert own is not None
        assert (images(own.evidence), own.verdict) == (13, "PASS")
        assert own.value is not None
        assert own.value <= own.limit


def test_card__lists_the_formats(run: RunFolder) -> None:
    card = (run.release / "mini-onnx" / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(card.split("---")[1])
    assert {"onnx", "openvino"} <= set(header["tags"])
    (line,) = (line for line in card.splitlines() if line.startswith("| `openvino/model.xml`"))
    assert "ran in openvino 20" in line
    parity = [line for line in card.splitlines() if line.startswith("* **PASS**, parity: ")]
    assert [line for line in parity if line.endswith("openvino/model.xml)")]
    plain = (run.release / "mini" / "README.md").read_text(encoding="utf-8")
    assert "openvino" not in yaml.safe_load(plain.split("---")[1])["tags"]
    assert "## Other runtimes" in card
    assert "## Other runtimes" not in plain


@pytest.mark.parametrize("file", ["openvino/model.bin", "executorch/model.pte"])
def test_push__formats_that_were_changed_or_added(run: RunFolder, file: str) -> None:
    certificate = Certificate.read(run.verify / "certificate.json")
    assert file_differences(files_of_release(run.release), certificate.files) == []
    path = run.release / "mini-onnx" / file
    before = path.read_bytes() if path.is_file() else None
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"something else")
    (difference,) = file_differences(files_of_release(run.release), certificate.files)
    assert difference.startswith(f"mini-onnx/{file} ")
    if before is None:
        path.unlink()
        path.parent.rmdir()
    else:
        path.write_bytes(before)


def test_verify__files_that_export_did_not_run(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run.release / "mini-onnx" / "openvino" / "model.bin"
    before = path.read_bytes()
    monkeypatch.chdir(run.root.parents[1])
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    try:
        assert pocketeva.main(["verify", "config.yaml", OPENVINO]) == pocketeva.WRONG_INPUT
        assert "mini-onnx/openvino/model.bin was changed" in capsys.readouterr().err
    finally:
        path.write_bytes(before)
        assert pocketeva.main(["verify", "config.yaml", OPENVINO]) == pocketeva.DONE
