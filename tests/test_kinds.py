"""A multilabel run from images to cards, and what an ordinal run says beyond a nominal one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from scipy.special import expit

import pocketeva
from data.loaders import load
from data.manifest import Manifest
from export.golden.check import check_golden
from export.release import open_onnx
from export.runtime import OnnxClassifier, RgbClassifier
from models import checkpoint
from run.figures import percent
from run.folder import RunFolder
from tests import finished, support
from verify.certificate import Certificate, Majority
from verify.config import VerifyConfig
from verify.evidence import Share
from verify.ledger import confidence_of_look
from verify.statistics import Proportion
from verify.verify import Verification, verify

pytestmark = pytest.mark.slow

LABELS = finished.MULTILABEL
MODELS = ("teacher", "mini")


@pytest.fixture
def run(multilabel_root: Path) -> RunFolder:
    return RunFolder(multilabel_root / "outputs" / "sets")


def json_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def squares(size: int, count: int = 4) -> list[Image.Image]:
    """Photographs in the model's own size, which every library leaves as it is."""
    return [load(str(path)).resize((size, size)) for path, _ in support.elpv_rows()[:count]]


def decided(path: Path, rows: Manifest) -> NDArray[np.bool_]:
    """The set that an exported file decides for each image [N, C]."""
    model = open_onnx(path)
    return np.asarray(model.probabilities([load(uri) for uri in rows.column("uri")]) >= 0.5)


def test_multilabel__every_label_is_learned_from_its_own_column(run: RunFolder) -> None:
    targets = Manifest.read(run.manifest, LABELS).targets()
    assert {tuple(row) for row in targets.tolist()} == {(0, 0, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1)}
    teacher = json_of(run.teacher / "metrics.json")
    assert teacher["calibration"]["nll_after"] <= teacher["calibration"]["nll_before"]
    assert 0 < teacher["head"]["val_loss"] < 10


@pytest.mark.parametrize("model", MODELS)
def test_multilabel__certificate_is_what_the_files_decide(run: RunFolder, model: str) -> None:
    certificate = Certificate.read(run.verify / "certificate.json")
    assert (certificate.verdict, certificate.labels) == ("PASS", LABELS)
    everything = Manifest.read(run.manifest, LABELS).usable("test")
    first = {group: row for row, group in reversed(list(enumerate(everything.column("group"))))}
    test = Manifest(LABELS, everything.table.take(sorted(first.values())))
    truth, reference = test.targets() == 1, decided(run.release / "teacher-onnx/onnx/model.onnx", test)
    assert certificate.test.majority == Majority(labels=(), count=7, n=28, rate=0.25)

    facts = certificate.models[model]
    ours = decided(run.release / facts.file, test)
    assert facts.reference.accuracy == Proportion(int((ours == truth).all(1).sum()), 28).with_interval(0.95)
    assert facts.confusion is None
    for index, row in enumerate(facts.per_label):
        said, true = ours[:, index], truth[:, index]
        counts = [(~said & ~true).sum(), (said & ~true).sum(), (~said & true).sum(), (said & true).sum()]
        assert (row.label, row.positives, row.confusion) == (LABELS.names[index], int(true.sum()), tuple(counts))
    for file, found in facts.files.items():
        theirs = decided(run.release / file, test)
        assert found.agreement.count == (theirs == reference).all(1).sum()
        by_label = [found.agreement_by_label[name].count for name in LABELS.names]
        assert by_label == (theirs == reference).sum(0).tolist()
        criterion = certificate.agreement(file)
        assert (criterion is None) == file.startswith("teacher")
        if criterion:
            assert "set of labels" in criterion.statement
            assert criterion.evidence == Share(n=28, count=found.agreement.count)
            assert criterion.lower == Proportion(found.agreement.count, 28).lower(confidence_of_look(1, 0.95))


@pytest.mark.parametrize("model", MODELS)
def test_multilabel__every_library_gives_the_same_sigmoid_scores(run: RunFolder, model: str) -> None:
    exported = OnnxClassifier(run.release / f"{model}-onnx" / "onnx" / "model.onnx")
    images = squares(exported.spec.size)
    expected = exported.probabilities(images)
    np.testing.assert_allclose(expected, expit(exported.logits(exported.prepare(images))), atol=1e-6)
    assert np.ptp(expected.sum(1)) > 0 or abs(expected.sum(1)[0] - 1) > 1e-3, "no softmax"

    loaded: Any = timm.create_model(f"local-dir:{run.release / model}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(loaded))
    with torch.inference_mode():
        scores = loaded(torch.stack([transform(image) for image in images])).sigmoid().numpy()
    np.testing.assert_allclose(scores, expected, atol=1e-4)

    classify = transformers.pipeline("image-classification", model=str(run.release / model), device="cpu")
    for image, row in zip(images, expected, strict=True):
        answer = {entry["label"]: entry["score"] for entry in classify(image)}
        assert answer == pytest.approx(dict(zip(LABELS.names, row.tolist(), strict=True)), abs=1e-4)

    whole = RgbClassifier(run.release / f"{model}-onnx" / "rgb.onnx")
    int8 = run.release / f"{model}-onnx" / "onnx" / "model_quantized.onnx"
    body = OnnxClassifier(int8) if int8.is_file() else exported
    np.testing.assert_allclose(whole.probabilities(images), body.probabilities(images), atol=1e-4)
    assert set(whole.outputs(images[0])) == {"probabilities", "decision"}


@pytest.mark.parametrize("model", MODELS)
def test_multilabel__files_beside_the_model_say_so(run: RunFolder, model: str) -> None:
    folder = run.release / f"{model}-onnx"
    assert json_of(folder / "labels.json") == {"names": list(LABELS.names), "kind": "multilabel"}
    for config in (folder / "config.json", run.release / model / "config.json"):
        assert json_of(config)["problem_type"] == "multi_label_classification"
    assert all(row.passed for row in check_golden(folder))
    text = " ".join((folder / "golden" / "README.md").read_text(encoding="utf-8").split())
    assert "steps 1, 2 and 3, then sigmoid" in text
    assert "The sigmoid of each logit by itself gives the probabilities" in text
    assert "softmax" not in text.lower()
    tried = json_of(folder / "int8.json")
    assert all(0 <= row["flips"] <= row["n"] for row in tried["candidates"])
    assert all(row["labeled"] == row["n"] for row in tried["candidates"]), "an image without labels counts too"


@pytest.mark.parametrize("model", MODELS)
def test_multilabel__cards(run: RunFolder, model: str) -> None:
    plain, with_onnx = (
        (run.release / name / "README.md").read_text(encoding="utf-8") for name in (model, f"{model}-onnx")
    )
    for card in (plain, with_onnx):
        assert "An image may have several, or none: each applies from a probability of 0.5 on." in card
        assert "| Accuracy: every label of the image right |" in card
        assert "| Always answering no label | 7 of 28 (25.0%) |" in card
        assert "| label | images | precision | recall | F1 | false alarms | missed |" in card
        assert "The sigmoid of the logits" in card
        assert "Confusion matrix" not in card
        assert "softmax" not in card
    assert "[0].sigmoid()" in plain
    assert "probabilities = 1 / (1 + np.exp(-logits[0]))" in with_onnx
    assert "logits.sigmoid().tolist()" in with_onnx
    assert "a flip is a decision that is not that of float32" in " ".join(with_onnx.split())


def test_multilabel__predict_lists_what_applies(
    run: RunFolder, multilabel_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run.release / "mini-onnx"
    assert pocketeva.main(["predict", str(folder), str(multilabel_root / "images"), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) > 100
    for row in rows:
        assert "label" not in row
        assert row["labels"] == [name for name, score in row["scores"].items() if score >= 0.5]


def test_multilabel__predict_says_none(run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(run.release / "mini-onnx" / "onnx" / "model.onnx")
    (bias,) = (tensor for tensor in model.graph.initializer if tensor.name.endswith("classifier.bias"))
    for values, said in (([-50, -50, -50], {"none"}), ([50, -50, 50], {"suspect", "heavy"})):
        bias.CopyFrom(onnx.numpy_helper.from_array(np.array(values, np.float32), bias.name))
        onnx.save(model, tmp_path / "model.onnx")
        assert pocketeva.main(["predict", str(tmp_path / "model.onnx"), str(support.elpv_rows()[0][0])]) == 0
        words = set(capsys.readouterr().out.split())
        assert words & {"none", *LABELS.names} == said


def test_multilabel__table_in_words(
    multilabel_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(multilabel_root)
    assert pocketeva.main(["verify", "config.yaml"]) == 0
    said = capsys.readouterr().out
    assert "accuracy: every label right, with 95% interval; always saying 'none' would be right on 25.0%" in said
    assert "agrees: this file's set of labels is that of the exported teacher in float32" in said
    assert "too mild" not in said


def test_multilabel__images_without_a_label_do_not_count_but_those_with_none_do(
    multilabel_root: Path, tmp_path: Path
) -> None:
    run = RunFolder(finished.copied(multilabel_root, tmp_path / "work") / "outputs" / "sets")
    manifest = Manifest.read(run.manifest, LABELS)
    rows = manifest.table.to_pylist()
    test = [row for row in rows if row["split"] == "test"]
    for row in test[:3]:
        row["target"] = None
    Manifest.of(LABELS, rows).write(run.manifest)
    certificate = verify(Verification(run, "sets", LABELS, VerifyConfig(agreement=0.01), ["mini"]))
    assert certificate.test.images == len(test) - 3
    assert certificate.models["mini"].reference.accuracy.n == certificate.test.groups < len(test)
    empty = sum(row["target"] == [0, 0, 0] for row in test)
    majority = certificate.test.majority
    assert majority.labels == () or empty <= majority.count


def test_ordinal__certificate_and_card_say_how_far_off_and_on_which_side(
    finished_root: Path,
    certificate: Certificate,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for facts in certificate.models.values():
        matrix = np.array(facts.confusion)
        steps = np.subtract.outer(np.arange(4), np.arange(4))  # truth minus decision
        found = facts.reference.ordinal
        assert found is not None
        for step in (1, 2):
            assert found.under_call[step] == Proportion(int(matrix[steps >= step].sum()), 28).with_interval(0.95)
            assert found.over_call[step] == Proportion(int(matrix[steps <= -step].sum()), 28).with_interval(0.95)
        assert found.mean_absolute_error == pytest.approx((matrix * np.abs(steps)).sum() / 28)
        chance = np.outer(matrix.sum(1), matrix.sum(0)) / 28
        kappa = 1 - (matrix * steps**2).sum() / (chance * steps**2).sum()
        assert found.quadratic_kappa == pytest.approx(kappa, abs=1e-9)
    ordinal = certificate.models["mini"].reference.ordinal
    assert ordinal is not None
    under = ordinal.under_call[2]
    card = (finished_root / "outputs" / "quick" / "release" / "mini-onnx" / "README.md").read_text(encoding="utf-8")
    assert f"| Too mild by 2 labels or more | {under.count} of 28 ({percent(under.rate)}), interval" in card
    assert "| Too severe by 1 label or more |" in card
    assert "| Quadratic weighted kappa |" in card
    monkeypatch.chdir(finished_root)
    assert pocketeva.main(["verify", "config.yaml"]) == 0
    said = capsys.readouterr().out
    assert "too mild: by 2 labels or more" in said
    assert f" {under.rate:.1%} " in said


def test_ordinal__costs_train_again_and_call_less_too_mild(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "work"
    finished.write_images(root, colored=False)  # costs matter where a model is unsure
    finished.write_config(root, finished.settings())
    monkeypatch.chdir(root)
    assert pocketeva.main(["prepare", "config.yaml"]) == 0
    part = Manifest.read(RunFolder(root / "outputs" / "quick").manifest, support.FOUR).usable("train")
    mean: dict[str, float] = {}
    for name, costs in (("none", "null"), ("dear", "[[0,0,0,0],[9,0,0,0],[9,9,0,0],[9,9,9,0]]")):
        assert pocketeva.main(["train", "config.yaml", f"--labels.costs={costs}"]) == 0
        teacher = checkpoint.load(root / "outputs" / "quick" / "teacher" / "model", support.FOUR)
        images = teacher.spec.normalize(np.stack([teacher.spec.render(load(uri)) for uri in part.column("uri")]))
        with torch.inference_mode():
            said = teacher.model(torch.from_numpy(images)).argmax(1).numpy()
        mean[name] = float((said - part.targets().argmax(1)).mean())
    assert mean["dear"] > mean["none"] + 0.3
    assert "costs" in capsys.readouterr().err


def test_costs__of_the_wrong_shape_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = finished.settings()
    config["labels"]["costs"] = [[0, 1], [1, 0]]
    finished.write_config(tmp_path, config)
    monkeypatch.chdir(tmp_path)
    assert pocketeva.main(["run", "config.yaml"]) == 2
    assert "labels.costs is [[0.0, 1.0], [1.0, 0.0]]; it must be 4 rows" in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()
