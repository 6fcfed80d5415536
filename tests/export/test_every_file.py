"""What every ONNX file of a finished release is and says."""

import json
import re
import sys
from pathlib import Path

import onnx
import pytest

import pocketeva
from data.labels import LabelSet
from export.onnx_graph import metadata_of
from export.release import FP32, INT8, KINDS, RGB
from export.rgb import DECODE
from export.runtime import processor
from run.files import file_digest
from run.folder import RunFolder
from tests import finished, support
from tests.export.conftest import without_weights

FILES = [f"{model}-onnx/{kind.path}" for model in ("teacher", "mini") for kind in KINDS.values()]
FILES.append("mini-onnx/page/rgb.onnx")
KEYS = {"labels", "labels_digest", "input", "architecture", "weights_digest", "temperature"}


@pytest.fixture(scope="module")
def release(finished_root: Path) -> Path:
    return RunFolder(finished_root / "outputs" / "quick").release


@pytest.mark.parametrize("file", FILES)
def test_every_file__is_valid_and_of_one_operator_set(release: Path, file: str) -> None:
    model = onnx.load(release / file, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    domains = [entry.domain for entry in model.opset_import]
    assert len(set(domains)) == len(domains)
    assert set(domains) <= {"", "com.microsoft"}
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 18
    assert model.ir_version == 8
    assert not any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer)


@pytest.mark.parametrize("file", FILES)
def test_every_file__says_what_a_runtime_needs(release: Path, file: str) -> None:
    found = {key: json.loads(value) for key, value in metadata_of(onnx.load(release / file)).items()}
    assert found.keys() >= KEYS
    assert LabelSet.of_json(found["labels"]) == support.FOUR
    assert found["labels_digest"] == support.FOUR.digest
    assert found["input"]["resize"] == "bicubic, antialiased, in two passes, width first, each rounded to 8 bits"
    assert ("decode" in found) == file.endswith("rgb.onnx") == (found.get("decode") == DECODE)


@pytest.mark.parametrize("file", FILES)
def test_every_file__names_no_path_host_or_user(release: Path, file: str) -> None:
    whole = (release / file).read_bytes()
    roots = [Path.cwd(), Path.home(), Path(sys.prefix), release]
    assert not [root for root in roots if root != Path("/") and f"{root}/".encode() in whole]
    words = without_weights(release / file)
    assert not re.search(rb"/[\w./-]+\.pyc?\b|site-packages|File \"", words)
    assert not [name for name in (support.HOST, support.USER) if name.encode() in whole]


@pytest.mark.parametrize("model", ["teacher", "mini"])
def test_export__int8_record_has_the_whole_sweep_and_the_cpu(release: Path, model: str) -> None:
    tried = json.loads((release / f"{model}-onnx" / "int8.json").read_text(encoding="utf-8"))
    assert tried["processor"] == processor()
    assert tried["shipped"] == (tried["winner"] is not None)
    assert len(tried["candidates"]) >= 2
    measured = [row for row in tried["candidates"] if row["why_not"] is None]
    assert all({"accuracy", "flips", "ms", "fp32_ms", "bytes", "temperature"} <= row.keys() for row in measured)
    body = json.loads(metadata_of(onnx.load(release / f"{model}-onnx" / RGB.path))["body"])
    assert body == tried["winner"]["sha256"] == file_digest(release / f"{model}-onnx" / INT8.path)


def test_export__the_page_runs_the_float32_model(release: Path) -> None:
    folder = release / "mini-onnx"
    metadata = metadata_of(onnx.load(folder / "page" / "rgb.onnx"))
    assert json.loads(metadata["body"]) == file_digest(folder / FP32.path)
    assert metadata["decision"] == metadata_of(onnx.load(folder / FP32.path))["decision"]
    assert "index.html" in (folder / "README.md").read_text(encoding="utf-8")
    assert not (release / "teacher-onnx" / "index.html").exists()


def test_card__names_the_providers_that_rgb_is_not_for(release: Path) -> None:
    for model, named in (("mini-onnx", True), ("mini", False)):
        text = (release / model / "README.md").read_text(encoding="utf-8")
        assert all((name in text) == named for name in ("CUDA", "OpenVINO", "TensorRT"))


def test_export__another_license_makes_no_file_again(
    finished_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished.copied(finished_root, tmp_path / "work"))
    capsys.readouterr()
    assert pocketeva.main(["export", "config.yaml", "--hub.license=apache-2.0"]) == pocketeva.DONE
    said = capsys.readouterr().err.splitlines()
    assert said[:-1] == ["export-teacher: done already", "export-mini: done already"]
    assert re.fullmatch(r".* export: \d+\.\d s", said[-1])
