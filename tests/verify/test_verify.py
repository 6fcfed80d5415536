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
from export.release import Release, open_onnx
from export.runtime import OnnxClassifier
from run.errors import UserError
from run.files import file_digest
from run.folder import RunFolder
from tests import finished, support
from verify.certificate import Certificate
from verify.config import VerifyConfig
from verify.statistics import Proportion
from verify.verify import verify

IMAGES = finished.SPLIT_SIZES["test"] * 4 + finished.DUPLICATES
MODELS = ["teacher", "mini"]
REFERENCE = "teacher-onnx/onnx/model.onnx"


@pytest.fixture
def root(finished_root: Path, tmp_path: Path) -> Path:
    return finished.copied(finished_root, tmp_path / "work")


@pytest.fixture
def run(root: Path) -> RunFolder:
    return RunFolder(root / "outputs" / "quick")


def judged(run: RunFolder, **config: Any) -> Certificate:
    return verify(run, "quick", support.FOUR, VerifyConfig(**{"agreement": 0.01, **config}), ["mini"])


def certificate_of(root: Path) -> Certificate:
    return Certificate.read(root / "outputs" / "quick" / "verify" / "certificate.json")


def first_choices(path: Path, rows: Manifest) -> list[int]:
    classifier = open_onnx(path)
    return [int(classifier.probabilities([load(uri)]).argmax()) for uri in rows.column("uri")]


def test_verify__certificate(finished_run: RunFolder, certificate: Certificate) -> None:
    assert (certificate.verdict, certificate.name, certificate.labels) == ("PASS", "quick", support.FOUR)
    assert certificate.labels_digest == support.FOUR.digest
    weights = {path for path in support.files_below(finished_run.release) if path.endswith((".onnx", ".safetensors"))}
    assert set(certificate.files) == weights
    assert certificate.files == {name: file_digest(finished_run.release / name) for name in weights}
    for model in Release(finished_run.release).models():
        copy = (model.onnx / "certificate.json").read_bytes()
        assert copy == (finished_run.verify / "certificate.json").read_bytes()


def test_verify__one_image_of_each_group(certificate: Certificate) -> None:
    test = certificate.test
    assert (test.images, test.groups) == (IMAGES, IMAGES - finished.DUPLICATES)
    assert (test.majority.labels, test.majority.count, test.majority.n) == (("sound",), 7, IMAGES - 1)


def test_verify__numbers_are_those_of_the_exported_files(finished_run: RunFolder, certificate: Certificate) -> None:
    everything = Manifest.read(finished_run.manifest, support.FOUR).usable("test")
    unique = {group: row for row, group in enumerate(everything.column("group"))}
    rows = Manifest(support.FOUR, everything.table.take(sorted(unique.values())))
    truth = rows.targets().argmax(1).tolist()
    choices = {file: first_choices(finished_run.release / file, rows) for file in certificate.files if ".onnx" in file}
    found = {criterion.file: criterion for criterion in certificate.agreements()}
    assert set(found) == set(choices) - {REFERENCE}
    for file, entry in found.items():
        count = sum(a == b for a, b in zip(choices[REFERENCE], choices[file], strict=True))
        expected = Proportion(count, len(rows))
        assert (entry.n, entry.count, entry.rate) == (len(rows), count, count / len(rows))
        assert (entry.lower, entry.upper) == (expected.lower(0.95), expected.upper(0.95))
        assert (entry.target, entry.confidence, entry.more_images) == (0.01, 0.95, 0)
        assert entry.verdict == "PASS"
    for name in MODELS:
        model = certificate.models[name]
        right = sum(a == b for a, b in zip(truth, choices[model.file], strict=True))
        assert (model.reference.accuracy.count, model.reference.accuracy.n) == (right, len(rows))
        assert model.confusion is not None
        assert sum(map(sum, model.confusion)) == len(rows)
        assert sum(model.confusion[index][index] for index in range(4)) == right
        assert [row.label for row in model.per_label] == list(support.FOUR.names)
        assert sum(row.positives for row in model.per_label) == len(rows)
        assert model.role == ("teacher" if name == "teacher" else "student")
        assert model.reference.bytes == (finished_run.release / model.file).stat().st_size
        assert 0 < model.reference.latency_ms.p50 <= model.reference.latency_ms.p95
        assert model.reference.latency_ms.threads == 1
        assert model.temperature > 0
        parity = certificate.parity(model.file)
        assert parity is not None
        assert (parity.verdict, parity.target) == ("PASS", 1e-4)
        assert 0 <= parity.largest <= 1e-4


def test_verify__verdict_and_exit_code_follow_the_target(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    lowest = min(certificate_of(root).agreements(), key=lambda criterion: criterion.lower)
    assert 0 < lowest.lower < lowest.upper < 1
    targets = {
        "PASS": lowest.lower - 1e-6,
        "INCONCLUSIVE": (lowest.lower + lowest.upper) / 2,
        "FAIL": lowest.upper + 1e-6,
    }
    for verdict, target in targets.items():
        code = pocketeva.main(["verify", "config.yaml", f"--verify.agreement={target}"])
        certificate = certificate_of(root)
        assert (certificate.verdict, code) == (verdict, 0 if verdict == "PASS" else 3)
        again = certificate.agreement(lowest.file)
        assert again is not None
        assert (again.verdict, again.target) == (verdict, target)
        assert (again.more_images == 0) == (verdict != "INCONCLUSIVE")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are opened from now on."""
    names: list[str] = []
    begin = OnnxClassifier.__init__

    def counted(self: OnnxClassifier, path: Path, threads: int | None = None) -> None:
        names.append(f"{path.parents[path.parent.name == 'onnx'].name}: {path.name}")
        begin(self, path, threads)

    monkeypatch.setattr(OnnxClassifier, "__init__", counted)
    return names


def test_verify__another_target_judges_again_and_runs_no_model(
    root: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    capsys.readouterr()
    assert pocketeva.main(["run", "config.yaml", "--verify.confidence=0.9"]) == 0
    said = capsys.readouterr().err
    for stage in ("prepare", "train", "distill-mini", "export-teacher", "export-mini", "measure"):
        assert f"{stage}: done already" in said
    assert "verify: again, because\n  verify.confidence: 0.95 → 0.9\n" in said
    agreement = certificate_of(root).agreement("mini-onnx/onnx/model.onnx")
    assert agreement is not None
    assert agreement.confidence == 0.9
    assert opened == []


def test_verify__each_file_is_opened_once(run: RunFolder, opened: list[str]) -> None:
    (run.verify / "predictions.parquet").unlink()
    files = [file for model in Release(run.release).models() for file in model.files()]
    judged(run)
    assert len(opened) == len(set(opened)) == len(files)


def test_verify__done_and_unchanged_writes_nothing(run: RunFolder, certificate: Certificate) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(run.root.rglob("*"))}
    assert judged(run) == certificate
    assert {path: path.stat().st_mtime_ns for path in sorted(run.root.rglob("*"))} == before


def test_verify__a_run_of_the_version_before_is_judged_again_and_says_why(
    run: RunFolder, certificate: Certificate, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (run.verify / "predictions.parquet", run.verify / "latency.json", run.root / "stamps" / "measure.json"):
        path.unlink()
    stamp = run.root / "stamps" / "verify.json"
    old = json.loads(stamp.read_text(encoding="utf-8"))
    del old["inputs"]["certificate schema"]
    stamp.write_text(json.dumps(old), encoding="utf-8")
    (run.verify / "certificate.json").write_text('{"format": 1}', encoding="utf-8")
    assert judged(run).criteria == certificate.criteria
    assert "verify: again, because\n  certificate schema: None → 2\n" in capsys.readouterr().err
    assert Certificate.read(run.verify / "certificate.json").verdict == "PASS"


def test_verify__a_tampered_model_fails_on_parity(run: RunFolder) -> None:
    path = run.release / "mini-onnx" / "onnx" / "model.onnx"
    model = onnx.load(path)
    model.producer_name = "someone else"
    onnx.save(model, path)
    certificate = judged(run)
    assert certificate.verdict == "FAIL"
    verdicts = {found.model: found.verdict for found in certificate.criteria if found.name == "parity"}
    assert verdicts == {"teacher": "PASS", "mini": "FAIL"}
    assert certificate.files["mini-onnx/onnx/model.onnx"] == file_digest(path)


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
    with pytest.raises(UserError, match=r"mini-onnx/onnx/model\.onnx not found: run `pocketeva export` first"):
        judged(run)


def test_verify__no_test_images(run: RunFolder) -> None:
    manifest = Manifest.read(run.manifest, support.FOUR)
    Manifest(support.FOUR, manifest.usable("train", "val", "calibration").table).write(run.manifest)
    with pytest.raises(UserError, match=r"the test split has no images.*data\.splits\.test"):
        judged(run)


def test_verify__does_without_torch(run: RunFolder, root: Path) -> None:
    (run.verify / "predictions.parquet").unlink()
    code = f"""
import sys
from pathlib import Path
from data.labels import LabelSet
from export.release import Release
from hub.card import write_cards
from hub.config import HubConfig
from run.folder import RunFolder
from verify.config import VerifyConfig
from verify.summary import show
from verify.verify import verify
labels = LabelSet({support.FOUR.names!r}, "ordinal")
run = RunFolder(Path({str(run.root)!r}))
certificate = verify(run, "quick", labels, VerifyConfig(agreement=0.02), ["mini"])
assert certificate.verdict == "PASS"
write_cards(Release(run.release), certificate, HubConfig())
show(certificate, run.release)
heavy = {{"torch", "timm", "pytorch_lightning", "transformers", "datasets", "sklearn"}} & set(sys.modules)
assert not heavy, heavy
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
