import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

import pocketeva
from data.labels import LabelSet
from data.loaders import load
from data.manifest import Manifest
from export.runtime import OnnxClassifier, RgbClassifier
from run.errors import UserError
from run.files import file_digest
from run.folder import RunFolder
from tests import finished, support
from verify.config import VerifyConfig
from verify.statistics import Proportion
from verify.verify import overall, verify

IMAGES = finished.SPLIT_SIZES["test"] * 4 + finished.DUPLICATES
MODELS = ["teacher", "mini"]


@pytest.fixture
def root(finished_root: Path, tmp_path: Path) -> Path:
    return finished.copied(finished_root, tmp_path / "work")


@pytest.fixture
def run(root: Path) -> RunFolder:
    return RunFolder(root / "outputs" / "quick")


def judged(run: RunFolder, **config: Any) -> dict[str, Any]:
    return verify(run, "quick", support.FOUR, VerifyConfig(**{"agreement": 0.01, **config}), ["mini"])


def certificate_of(root: Path) -> dict[str, Any]:
    return strict_json(root / "outputs" / "quick" / "verify" / "certificate.json")


def strict_json(path: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return dict(json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse))


def criterion(certificate: dict[str, Any], name: str, model: str, file: str = "onnx/model.onnx") -> dict[str, Any]:
    wanted = name, model, f"{model}-onnx/{file}"
    (found,) = (c for c in certificate["criteria"] if (c["name"], c["model"], c["file"]) == wanted)
    return dict(found)


def first_choices(path: Path, rows: Manifest) -> list[int]:
    classifier = (RgbClassifier if path.name == "rgb.onnx" else OnnxClassifier)(path)
    return [int(classifier.probabilities([load(uri)]).argmax()) for uri in rows.column("uri")]


def test_verify__certificate(finished_root: Path) -> None:
    run = RunFolder(finished_root / "outputs" / "quick")
    certificate = certificate_of(finished_root)
    assert set(certificate) >= {
        *("format", "verdict", "name", "labels", "labels_digest", "test", "criteria", "models", "files")
    }
    assert (certificate["format"], certificate["verdict"], certificate["name"]) == (1, "PASS", "quick")
    assert certificate["labels"] == {"names": list(support.FOUR.names), "kind": "ordinal"}
    assert certificate["labels_digest"] == support.FOUR.digest
    weights = {path for path in support.files_below(run.release) if path.endswith((".onnx", ".safetensors"))}
    assert set(certificate["files"]) == weights
    assert certificate["files"] == {name: file_digest(run.release / name) for name in certificate["files"]}
    for model in MODELS:
        assert (run.release / f"{model}-onnx" / "certificate.json").read_bytes() == (
            run.verify / "certificate.json"
        ).read_bytes()


def test_verify__one_image_of_each_group(finished_root: Path) -> None:
    test = certificate_of(finished_root)["test"]
    assert (test["images"], test["groups"]) == (IMAGES, IMAGES - finished.DUPLICATES)
    assert test["majority"] == {"label": "sound", "count": 7, "n": IMAGES - 1, "rate": 0.25}


def test_verify__numbers_are_those_of_the_exported_files(finished_root: Path) -> None:
    run = RunFolder(finished_root / "outputs" / "quick")
    everything = Manifest.read(run.manifest, support.FOUR).usable("test")
    unique = {group: row for row, group in enumerate(everything.column("group"))}
    rows = Manifest(support.FOUR, everything.table.take(sorted(unique.values())))
    certificate = certificate_of(finished_root)
    truth = rows.targets().argmax(1).tolist()
    choices = {file: first_choices(run.release / file, rows) for file in certificate["files"] if ".onnx" in file}
    reference = choices["teacher-onnx/onnx/model.onnx"]
    found = {c["file"]: c for c in certificate["criteria"] if c["name"] == "agreement"}
    assert set(found) == set(choices) - {"teacher-onnx/onnx/model.onnx"}
    for file, entry in found.items():
        count = sum(a == b for a, b in zip(reference, choices[file], strict=True))
        expected = Proportion(count, len(rows))
        assert (entry["n"], entry["count"], entry["rate"]) == (len(rows), count, count / len(rows))
        assert (entry["lower"], entry["upper"]) == (expected.lower(0.95), expected.upper(0.95))
        assert (entry["target"], entry["confidence"], entry["more_images"]) == (0.01, 0.95, 0)
        assert entry["verdict"] == "PASS"
    for model in MODELS:
        facts = certificate["models"][model]
        right = sum(a == b for a, b in zip(truth, choices[facts["file"]], strict=True))
        assert (facts["accuracy"]["count"], facts["accuracy"]["n"]) == (right, len(rows))
        assert sum(map(sum, facts["confusion"])) == len(rows)
        assert sum(facts["confusion"][index][index] for index in range(4)) == right
        assert [row["label"] for row in facts["per_class"]] == list(support.FOUR.names)
        assert sum(row["n"] for row in facts["per_class"]) == len(rows)
        assert facts["role"] == ("teacher" if model == "teacher" else "student")
        file = run.release / facts["file"]
        assert facts["bytes"] == file.stat().st_size
        assert 0 < facts["latency_ms"]["p50"] <= facts["latency_ms"]["p95"]
        assert facts["latency_ms"]["threads"] == 1
        assert facts["temperature"] > 0
        parity = criterion(certificate, "parity", model)
        assert (parity["verdict"], parity["target"]) == ("PASS", 1e-4)
        assert 0 <= parity["largest"] <= 1e-4


def test_verify__verdict_and_exit_code_follow_the_target(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    found = [c for c in certificate_of(root)["criteria"] if c["name"] == "agreement"]
    lowest = min(found, key=lambda c: float(c["lower"]))
    assert 0 < lowest["lower"] < lowest["upper"] < 1
    targets = {
        "PASS": lowest["lower"] - 1e-6,
        "INCONCLUSIVE": (lowest["lower"] + lowest["upper"]) / 2,
        "FAIL": lowest["upper"] + 1e-6,
    }
    release = support.files_below(root / "outputs" / "quick" / "release" / "mini")
    for verdict, target in targets.items():
        code = pocketeva.main(["verify", "config.yaml", f"--verify.agreement={target}"])
        certificate = certificate_of(root)
        assert (certificate["verdict"], code) == (verdict, 0 if verdict == "PASS" else 3)
        (again,) = (c for c in certificate["criteria"] if c["name"] == "agreement" and c["file"] == lowest["file"])
        assert (again["verdict"], again["target"]) == (verdict, target)
        assert (again["more_images"] == 0) == (verdict != "INCONCLUSIVE")
    after = support.files_below(root / "outputs" / "quick" / "release" / "mini")
    assert after["model.safetensors"] == release["model.safetensors"]


def test_verify__only_its_own_config_changed(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    capsys.readouterr()
    assert pocketeva.main(["run", "config.yaml", "--verify.confidence=0.9"]) == 0
    said = capsys.readouterr().err
    for stage in ("prepare", "train", "distill-mini", "export-teacher", "export-mini"):
        assert f"{stage}: done already" in said
    assert "verify: again, because" in said
    assert "verify.confidence: 0.95 → 0.9" in said
    assert criterion(certificate_of(root), "agreement", "mini")["confidence"] == 0.9


def test_verify__done_and_unchanged_writes_nothing(run: RunFolder) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(run.root.rglob("*"))}
    assert judged(run)["verdict"] == "PASS"
    assert {path: path.stat().st_mtime_ns for path in sorted(run.root.rglob("*"))} == before


def test_verify__a_tampered_model_fails_on_parity(run: RunFolder) -> None:
    path = run.release / "mini-onnx" / "onnx" / "model.onnx"
    model = onnx.load(path)
    model.producer_name = "someone else"
    onnx.save(model, path)
    certificate = judged(run)
    assert certificate["verdict"] == "FAIL"
    assert criterion(certificate, "parity", "mini")["verdict"] == "FAIL"
    assert criterion(certificate, "parity", "teacher")["verdict"] == "PASS"
    assert certificate["files"]["mini-onnx/onnx/model.onnx"] == file_digest(path)


def test_verify__a_model_of_other_labels(run: RunFolder) -> None:
    path = run.release / "mini-onnx" / "onnx" / "model.onnx"
    model = onnx.load(path)
    known = {entry.key: entry.value for entry in model.metadata_props}
    swapped = {"names": list(reversed(support.FOUR.names)), "kind": "ordinal"}
    onnx.helper.set_model_props(model, {**known, "labels": json.dumps(swapped)})
    onnx.save(model, path)
    with pytest.raises(UserError, match=r"mini-onnx/onnx/model\.onnx was made for the labels .*never reindexed"):
        judged(run)


def test_verify__a_manifest_of_other_labels(run: RunFolder) -> None:
    nominal = LabelSet(support.FOUR.names, "nominal")
    with pytest.raises(UserError, match=r"manifest\.parquet was made for the labels"):
        verify(run, "quick", nominal, VerifyConfig(confidence=0.9), ["mini"])


def test_verify__release_not_there(run: RunFolder) -> None:
    shutil.rmtree(run.release / "mini-onnx")
    with pytest.raises(UserError, match=r"mini-onnx/onnx/model\.onnx not there: run `pocketeva export` first"):
        judged(run)


def test_verify__no_test_images(run: RunFolder) -> None:
    manifest = Manifest.read(run.manifest, support.FOUR)
    Manifest(support.FOUR, manifest.usable("train", "val", "calibration").table).write(run.manifest)
    with pytest.raises(UserError, match=r"the test split has no images.*data\.splits\.test"):
        judged(run)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["PASS", "PASS"], "PASS"),
        (["PASS", "INCONCLUSIVE"], "INCONCLUSIVE"),
        (["INCONCLUSIVE", "FAIL", "PASS"], "FAIL"),
    ],
)
def test_overall__every_criterion_has_to_pass(verdicts: list[Any], expected: str) -> None:
    assert overall(verdicts) == expected


def test_verify__does_without_torch(run: RunFolder, root: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from data.labels import LabelSet
from run.folder import RunFolder
from verify.config import VerifyConfig
from verify.verify import verify
labels = LabelSet({support.FOUR.names!r}, "ordinal")
config = VerifyConfig(agreement=0.02)
assert verify(RunFolder(Path({str(run.root)!r})), "quick", labels, config, ["mini"])["verdict"] == "PASS"
heavy = {{"torch", "timm", "pytorch_lightning", "transformers", "datasets"}} & set(sys.modules)
assert not heavy, heavy
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
