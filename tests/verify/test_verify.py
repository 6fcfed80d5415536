import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pocketeva
from data.labels import LabelSet
from data.loaders import load
from data.manifest import Manifest
from export.points.config import PointConfig
from export.release import Release, open_onnx
from export.runtime import OnnxClassifier
from run.errors import UserError
from run.files import file_digest
from run.folder import RunFolder
from tests import finished, support
from tests.verify.test_predictions import KEY, manifest_of
from verify.certificate import Certificate, Look
from verify.config import VerifyConfig
from verify.evidence import Finite, Share
from verify.judge import judge
from verify.ledger import Judged, Ledger, confidence_of_look, record_use
from verify.predictions import keyed
from verify.seal import WRITTEN_AFTERWARDS
from verify.statistics import Proportion
from verify.verify import Verification, doubts, images_of, require_test_images, verify

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
    return verify(asked(run, **config))


def asked(run: RunFolder, labels: LabelSet = support.FOUR, **config: Any) -> Verification:
    return Verification(
        run, "quick", labels, VerifyConfig(**{"agreement": 0.01, "conversion": 0.99, **config}), ["mini"]
    )


def certificate_of(root: Path) -> Certificate:
    return Certificate.read(root / "outputs" / "quick" / "verify" / "certificate.json")


def first_choices(path: Path, rows: Manifest) -> list[int]:
    classifier = open_onnx(path)
    return [int(classifier.probabilities([load(uri)]).argmax()) for uri in rows.column("uri")]


def test_verify__certificate(finished_run: RunFolder, certificate: Certificate) -> None:
    assert (certificate.verdict, certificate.name, certificate.labels) == ("PASS", "quick", support.FOUR)
    assert certificate.labels_digest == support.FOUR.digest
    files = set(support.files_below(finished_run.release))
    written_from_it = {name for name in files if name.split("/")[1] in WRITTEN_AFTERWARDS}
    assert {f"{model}-onnx/certificate.json" for model in MODELS} <= written_from_it
    assert certificate.files == {name: file_digest(finished_run.release / name) for name in files - written_from_it}
    assert "mini-onnx/golden/README.md" in certificate.files
    assert (certificate.look.number, certificate.profile, certificate.accepted) == (1, "default", ())
    assert {model.verdict for model in certificate.models.values()} == {"PASS"}
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
    found = {criterion.file: criterion for criterion in certificate.of(name="agreement")}
    # The page's file is the float32 one with the resize before it, and is compared with PyTorch at export.
    assert set(found) == {file for file in choices if file.startswith("mini") and "/page/" not in file}
    confidence = confidence_of_look(1, 0.95)
    for file, entry in found.items():
        count = sum(a == b for a, b in zip(choices[REFERENCE], choices[file], strict=True))
        expected = Proportion(count, len(rows))
        assert (entry.evidence, entry.value) == (Share(n=len(rows), count=count), count / len(rows))
        assert (entry.lower, entry.upper) == (expected.lower(confidence), expected.upper(confidence))
        assert (entry.limit, entry.confidence, entry.more_images, entry.verdict) == (0.01, confidence, 0, "PASS")
    for criterion in certificate.of(name="conversion"):
        own = choices[certificate.models[criterion.model].file]
        flips = sum(a != b for a, b in zip(own, choices[criterion.file], strict=True))
        assert criterion.evidence == Share(n=len(rows), count=flips)
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
        assert (parity.verdict, parity.limit) == ("PASS", 1e-3)
        assert parity.value is not None
        assert 0 <= parity.value <= 1e-3


def test_verify__verdict_and_exit_code_follow_the_target(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    lowest = min(certificate_of(root).of(name="agreement"), key=lambda criterion: criterion.value or 0)
    evidence = lowest.evidence
    assert isinstance(evidence, Share)
    lower = Proportion(evidence.count, evidence.n).lower(lowest.confidence)
    targets = {"PASS": lower - 1e-6, "INCONCLUSIVE": (lower + evidence.count / evidence.n) / 2 + 1e-3}
    upper = Proportion(evidence.count, evidence.n).upper(lowest.confidence)
    if upper < 1:
        targets["FAIL"] = upper + 1e-6
    for verdict, target in targets.items():
        code = pocketeva.main(["verify", "config.yaml", f"--verify.agreement={target}"])
        certificate = certificate_of(root)
        assert (certificate.verdict, code) == (verdict, 0 if verdict == "PASS" else 3)
        again = certificate.agreement(lowest.file)
        assert again is not None
        assert (again.verdict, again.limit) == (verdict, target)
        assert (again.more_images == 0) == (verdict != "INCONCLUSIVE")
        assert certificate.look.number == 1, "the same files again are no new look"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are opened from now on."""
    names: list[str] = []
    begin = OnnxClassifier.__init__

    def counted(self: OnnxClassifier, path: Path, *arguments: Any, **options: Any) -> None:
        names.append(f"{path.parents[path.parent.name == 'onnx'].name}: {path.name}")
        begin(self, path, *arguments, **options)

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
    assert "verify: again, because\n  verify.confidence: 0.95 → 0.9\n  certificate: changed\n" in said
    agreement = certificate_of(root).agreement("mini-onnx/onnx/model.onnx")
    assert agreement is not None
    assert agreement.confidence == confidence_of_look(1, 0.9)
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


def test_verify__another_judgment_of_the_same_inputs_is_written(
    run: RunFolder, certificate: Certificate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As after an edit of this program that raises no version: `push` judges again, and would refuse for ever.
    monkeypatch.setattr("verify.verify.judge", lambda *given: replace(judge(*given), profile="safety"))
    changed = judged(run)
    assert changed == replace(certificate, profile="safety")
    assert Certificate.read(run.verify / "certificate.json") == changed
    assert "verify: again, because\n  certificate: changed\n" in capsys.readouterr().err
    assert doubts(asked(run), changed) == []


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
    assert "verify: again, because\n  certificate schema: None → 4\n" in capsys.readouterr().err
    assert Certificate.read(run.verify / "certificate.json").verdict == "PASS"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mini-onnx/onnx/model.onnx", "was changed"),
        ("mini/model.safetensors", "was changed"),
        ("mini-onnx/labels.json", "was changed"),
        ("mini-onnx/weights.pkl", "was not written by export"),
        ("mini/model.pt", "was not written by export"),
    ],
)
def test_verify__a_release_that_is_not_as_export_left_it(run: RunFolder, name: str, said: str) -> None:
    with (run.release / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(UserError, match=rf"is not as `pocketeva export` left it:\n  {name} {said}\nRemove"):
        judged(run)


@pytest.mark.parametrize(
    "changed", [{"decision": "levels"}, {"operating_points": [PointConfig(level="mild", fpr=0.1)]}]
)
def test_verify__files_that_decide_otherwise_than_asked(run: RunFolder, changed: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^teacher was exported with another decision than .*run `pocketeva export`"):
        judged(run, **changed)


def test_verify__another_release_on_the_same_images_is_another_look(run: RunFolder) -> None:
    path = run.root.parent / "ledger.json"
    (first,) = Ledger.read(path).judged
    record_use(
        path,
        Manifest.read(run.manifest, support.FOUR).labeled_rows("test").column("image_id"),
        Judged(split=first.split, release="another"),
        0.95,
    )
    assert judged(run).look.number == 1
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["judged"].reverse()
    path.write_text(json.dumps(stored), encoding="utf-8")
    certificate = judged(run)
    assert certificate.look == Look(number=2, confidence=confidence_of_look(2, 0.95))
    assert {criterion.confidence for criterion in certificate.criteria} == {certificate.look.confidence}


def test_images_of__names_images_on_this_machine_only() -> None:
    rows = manifest_of(9)
    found = Finite(n=9, count=2, images=tuple(keyed(KEY, f"image00{number}")[:12] for number in (7, 2)))
    assert images_of(found, rows, KEY) == ["image002.png", "image007.png"]
    assert images_of(Finite(n=9, count=0, images=()), rows, KEY) == []


@pytest.mark.parametrize(
    ("labels", "config", "said"),
    [
        ([0, 1, 2, 2], {}, "the test split has no image of 'broken', so nothing can be shown of it"),
        ([0, 0, 0, 0], {"accept": ("likely",)}, "no image of 'doubtful', 'broken', so nothing can be shown of them"),
        ([0], {}, "the test split has 1 image that differ: too few for any verdict. 2 can"),
    ],
)
def test_require_test_images__refuses_what_can_show_nothing(labels: list[int], config: Any, said: str) -> None:
    rows = [
        {**row, "target": [float(index == label) for index in range(4)]}
        for label, row in zip(
            labels, support.rows_of([Path(f"{name}.png") for name in range(9)], support.FOUR, "test"), strict=False
        )
    ]
    with pytest.raises(UserError, match=said):
        require_test_images(Manifest.of(support.FOUR, rows), VerifyConfig(**config))


def test_require_test_images__votes_that_all_tie() -> None:
    paths = [Path(f"{name}.png") for name in range(9)]
    rows = [{**row, "target": [0.5, 0.5, 0.0, 0.0]} for row in support.rows_of(paths, support.FOUR, "test")]
    with pytest.raises(UserError, match=r"^the votes of all 9 test images tie, so none has a true label"):
        require_test_images(Manifest.of(support.FOUR, rows), VerifyConfig())


def test_verify__a_manifest_of_other_labels(run: RunFolder) -> None:
    nominal = LabelSet(support.FOUR.names, "nominal")
    with pytest.raises(UserError, match=r"manifest\.parquet was made for the labels"):
        verify(asked(run, nominal))


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
from dataclasses import replace
from pathlib import Path
from data.labels import LabelSet
from export.release import Release
from hub.card import write_cards
from hub.config import HubConfig
from run.folder import RunFolder
from verify.config import VerifyConfig
from verify.summary import show
from verify.verify import Verification, verify
labels = LabelSet({support.FOUR.names!r}, "ordinal")
run = RunFolder(Path({str(run.root)!r}))
certificate = verify(Verification(run, "quick", labels, VerifyConfig(agreement=0.02, conversion=0.99), ["mini"]))
assert certificate.verdict == "PASS"
write_cards(run, certificate, HubConfig())
show(certificate, run.release)
heavy = {{"torch", "timm", "pytorch_lightning", "transformers", "datasets", "sklearn"}} & set(sys.modules)
assert not heavy, heavy
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
