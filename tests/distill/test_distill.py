import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cache.frozen import FrozenModel
from data.config import ViewsConfig
from data.examples import Examples
from data.manifest import Manifest
from distill.config import StudentConfig
from distill.distill import distill
from fitting.config import FitConfig
from models import checkpoint
from models.classifier import Classifier
from models.decision import DecisionRule
from models.facts import CheckpointFacts
from models.forward import whole_image_logits
from run.context import RunContext
from run.errors import UserError
from run.folder import RunFolder
from tests.support import FOUR, TRAINER, context, copied, files_below, tiny
from tests.train.test_train import trained
from train.config import ImageFitConfig, TeacherConfig
from train.teacher import load_teacher

Prepared = tuple[RunFolder, Manifest]
VIEWS = ViewsConfig(count=2)
TEACHER = TeacherConfig(
    model="test_resnet",
    pretrained=False,
    image_size=32,
    drop_path=0.0,
    full=ImageFitConfig(epochs=1, batch_size=16, lr=0.002),
)
STUDENT = StudentConfig(
    name="phone",
    model="test_efficientnet",
    pretrained=False,
    image_size=32,
    fit=FitConfig(epochs=2, batch_size=16, lr=0.01, ema_decay=0.9),
)


def distilled(run: RunContext, manifest: Manifest, config: StudentConfig, views: ViewsConfig) -> Classifier:
    """A student of the run's own teacher."""
    distill(run, manifest, config, views, load_teacher(run, manifest.labels))
    return checkpoint.load(run.folder.student(config.name) / "model", manifest.labels)


@pytest.fixture(scope="module", params=["head", "full"])
def taught(
    request: pytest.FixtureRequest, elpv_run: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunContext, Manifest]:
    """A run with a finished teacher."""
    run = context(copied(elpv_run[0], tmp_path_factory.mktemp("taught") / "run"))
    trained(run, elpv_run[1], replace(TEACHER, mode=request.param), VIEWS)
    return run, elpv_run[1]


def mine(taught: tuple[RunContext, Manifest], folder: Path) -> RunContext:
    return context(copied(taught[0].folder, folder))


def times(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_distill__writes_a_calibrated_student(taught: tuple[RunContext, Manifest], tmp_path: Path) -> None:
    run, manifest = mine(taught, tmp_path / "run"), taught[1]
    teacher = checkpoint.load(run.folder.teacher / "model", FOUR)
    taught_files = files_below(run.folder.teacher)
    student = distilled(run, manifest, STUDENT, VIEWS)
    folder = run.folder.student("phone")
    assert student.architecture == "test_efficientnet"
    assert (student.spec.size, student.spec.mode) == (32, "squash")
    assert checkpoint.load(folder / "model", FOUR).weights_digest() == student.weights_digest()
    metrics = json.loads((folder / "metrics.json").read_text())
    beside = {"val_distilled", "val_labels", "val_accuracy", "val_macro_f1", "val_agreement"}
    assert metrics["fit"].keys() >= {"val_loss", *beside, "epoch", "epochs"}
    assert metrics["calibration"]["n"] == len(manifest.usable("val"))
    assert CheckpointFacts.read(folder / "model").teacher == teacher.weights_digest()
    assert not list(folder.rglob("*.ckpt"))
    assert files_below(run.folder.teacher) == taught_files

    before = times(run.folder.root)
    assert distilled(run, manifest, STUDENT, VIEWS).weights_digest() == student.weights_digest()
    distilled(run, manifest, replace(STUDENT, baseline=True), VIEWS)
    assert times(run.folder.root) == before, "a second call does nothing, nor does one with a baseline beside it"
    other = distilled(run, manifest, replace(STUDENT, label_weight=0.9), VIEWS)
    assert other.weights_digest() != student.weights_digest()
    changed = {path for path, time in times(run.folder.root).items() if before.get(path) != time}
    assert all("students" in path.parts or "stamps" in path.parts or path.name == "key.json" for path in changed)


@pytest.mark.slow
def test_distill__a_student_with_two_last_layers(taught: tuple[RunContext, Manifest], tmp_path: Path) -> None:
    run, manifest = mine(taught, tmp_path / "run"), taught[1]
    teacher = tiny("resnet18", FOUR)  # larger than the student
    checkpoint.save(teacher, run.folder.teacher / "model", CheckpointFacts(labels=FOUR, mode="full"))
    config = replace(STUDENT, model="repvit_m0_9", image_size=64, fit=FitConfig(epochs=1, batch_size=16, lr=1e-3))
    student = distilled(run, manifest, config, VIEWS)
    metrics = json.loads((run.folder.student("phone") / "metrics.json").read_text())["calibration"]
    part = manifest.labeled_rows("val")
    logits = whole_image_logits(student, Examples.of_originals(part, VIEWS), TRAINER, "32-true", "test")
    assert DecisionRule.of(FOUR).cross_entropy(logits, part.targets()) == pytest.approx(metrics["nll_after"], rel=1e-4)


def test_distill__a_student_larger_than_its_teacher(taught: tuple[RunContext, Manifest], tmp_path: Path) -> None:
    run, manifest = mine(taught, tmp_path / "run"), taught[1]
    before = files_below(run.folder.root)
    small = FrozenModel(tiny("test_resnet", FOUR), "logits", run)
    with pytest.raises(UserError, match=r"student phone \(repvit_m0_9\) has 4\.7 M .* teacher \(test_resnet\)"):
        distill(run, manifest, replace(STUDENT, model="repvit_m0_9"), VIEWS, small)
    assert files_below(run.folder.root) == before


def test_distill__another_teacher_needs_another_student(taught: tuple[RunContext, Manifest], tmp_path: Path) -> None:
    run, manifest = mine(taught, tmp_path / "run"), taught[1]
    student = distilled(run, manifest, STUDENT, VIEWS)
    mode = CheckpointFacts.read(run.folder.teacher / "model").mode
    assert mode is not None
    trained(replace(run, seed=1), manifest, replace(TEACHER, mode=mode), VIEWS)
    assert distilled(run, manifest, STUDENT, VIEWS).weights_digest() != student.weights_digest()


def test_load_teacher__logits_are_what_it_gives_for_each_view(
    taught: tuple[RunContext, Manifest], tmp_path: Path
) -> None:
    run, manifest = mine(taught, tmp_path / "run"), taught[1]
    teacher = load_teacher(run, FOUR)
    part = manifest.usable("val")
    kept = files_below(run.folder.cache) if run.folder.cache.exists() else {}
    logits = teacher.compute_logits(Examples.of_originals(part, VIEWS), 1)
    assert logits.shape == (len(part), 1, 4)
    originals = Examples.of_originals(part, VIEWS)
    direct = whole_image_logits(teacher.classifier, originals, TRAINER, "32-true", "test")
    np.testing.assert_allclose(logits[:, 0], direct, rtol=1e-2, atol=1e-2)
    if CheckpointFacts.read(run.folder.teacher / "model").mode == "head":
        assert files_below(run.folder.cache) == kept, "the features its head was trained on serve again"
    else:
        assert any(path.name.startswith("logits-") for path in run.folder.cache.iterdir())


def test_load_teacher__before_it_is_trained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `pocketeva train` first"):
        load_teacher(context(RunFolder(tmp_path)), FOUR)
