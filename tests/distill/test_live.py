"""Students whose teacher is live, in all of their epochs or in the last ones."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cache.frozen import FrozenModel
from data.config import ViewsConfig
from data.labels import LabelSet
from data.manifest import Manifest
from distill.cache import build_cache
from distill.config import StudentConfig
from distill.module import StudentModule
from distill.teacher import LiveTeacher
from models import checkpoint
from models.facts import CheckpointFacts, Mode
from run.context import RunContext
from run.folder import RunFolder
from tests.distill.test_cache import passes, with_unlabeled
from tests.distill.test_distill import STUDENT, TEACHER, distilled, times
from tests.support import FOUR, TRAINER, context, copied, tiny
from tests.train.test_train import trained

Prepared = tuple[RunFolder, Manifest]
ONE, TWO = ViewsConfig(count=1), ViewsConfig(count=2)
MIXED = replace(STUDENT, live=0.5, mixup=0.3)
LIVE = replace(STUDENT, live=1.0)
BATCH = STUDENT.fit.batch_size


@pytest.fixture(params=["head", "full"])
def taught(request: pytest.FixtureRequest, elpv_run: Prepared, tmp_path: Path) -> RunContext:
    """A run with a teacher that has a larger input than its students."""
    return with_teacher(elpv_run[0], tmp_path / "run", request.param)


def with_teacher(run: RunFolder, to: Path, mode: Mode, labels: LabelSet = FOUR) -> RunContext:
    made = context(copied(run, to))
    checkpoint.save(
        tiny("test_resnet", labels, 40), made.folder.teacher / "model", CheckpointFacts(labels=labels, mode=mode)
    )
    return made


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[int]]:
    """How many images a live teacher was shown, by their size in pixels."""
    images: Counter[int] = Counter()
    live_logits = FrozenModel.live_logits

    def counted(self: FrozenModel, batch: Tensor) -> Any:
        answers = live_logits(self, batch)
        assert batch.device == next(self.classifier.model.parameters()).device
        assert not self.classifier.model.training
        images[batch.shape[-1]] += len(batch)
        return answers

    monkeypatch.setattr(FrozenModel, "live_logits", counted)
    return images  # type: ignore[return-value]


def learned_per_epoch(manifest: Manifest) -> int:
    return len(manifest.usable("train", "unlabeled")) // BATCH * BATCH


def test_distill__live_asks_the_teacher_in_every_step_and_caches_validation_alone(
    taught: RunContext, elpv_run: Prepared, seen: Counter[int]
) -> None:
    manifest = elpv_run[1]
    student = distilled(taught, manifest, LIVE, ONE)
    live, held_out = 2 * learned_per_epoch(manifest), len(manifest.usable("val"))
    assert seen == {40: live}, "its own size, and every training image once an epoch"
    expected = {"images_x_views": live + held_out, "cached": 0, "live": live}
    assert passes(taught.folder.student("phone")) == expected
    metrics = json.loads((taught.folder.student("phone") / "metrics.json").read_text())
    assert metrics["fit"].keys() >= {"val_loss", "val_distilled", "val_labels", "val_agreement"}
    assert checkpoint.load(taught.folder.student("phone") / "model", FOUR).weights_digest() == student.weights_digest()

    before = times(taught.folder.root)
    distilled(taught, manifest, LIVE, ONE)
    assert times(taught.folder.root) == before, "a second call does nothing"
    distilled(taught, manifest, replace(LIVE, name="browser"), ONE)
    assert passes(taught.folder.student("browser")) == {"images_x_views": live, "cached": held_out, "live": live}


def test_distill__mixed_begins_with_the_cache_and_ends_live(
    taught: RunContext, elpv_run: Prepared, seen: Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[tuple[int, bool]] = []
    answer = LiveTeacher.answer

    def noted(self: LiveTeacher, batch: dict[str, Any], epoch: int, number: int) -> None:
        answered.append((epoch, "teacher_image" in batch))
        answer(self, batch, epoch, number)

    monkeypatch.setattr(LiveTeacher, "answer", noted)
    config = replace(MIXED, live=0.25, fit=replace(STUDENT.fit, epochs=4))
    distilled(taught, elpv_run[1], config, TWO)
    assert set(answered) == {(0, False), (1, False), (2, False), (3, True)}
    live = learned_per_epoch(elpv_run[1])
    assert seen == {40: live}
    cached = 2 * len(elpv_run[1].usable("train")) + len(elpv_run[1].usable("val"))
    assert passes(taught.folder.student("phone")) == {"images_x_views": cached + live, "cached": 0, "live": live}


def test_distill__resumes_in_the_live_part_to_the_same_student(
    taught: RunContext, elpv_run: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = elpv_run[1]
    cached = replace(STUDENT, name="other", fit=replace(STUDENT.fit, epochs=3))
    config = replace(MIXED, live=0.6, fit=cached.fit)
    cut = context(copied(taught.folder, tmp_path / "cut"))
    expected = distilled(taught, manifest, config, TWO)
    checkpoints = {}

    def interrupt(module: StudentModule) -> None:
        if module.current_epoch == 2:
            raise KeyboardInterrupt

    for one in (config, cached):
        with monkeypatch.context() as patch:
            patch.setattr(StudentModule, "on_train_epoch_start", interrupt)
            with pytest.raises(KeyboardInterrupt):
                distilled(cut, manifest, one, TWO)
        path = cut.folder.student(one.name) / "fit" / "last.ckpt"
        checkpoints[one.name] = torch.load(path, weights_only=True)
    assert shapes(checkpoints["phone"]) == shapes(checkpoints["other"]), "nothing of the teacher is kept"
    assert set(checkpoints["phone"]["state_dict"]) == {f"model.{name}" for name in expected.model.state_dict()}

    torch.manual_seed(99)
    assert distilled(cut, manifest, config, TWO).weights_digest() == expected.weights_digest()
    assert passes(cut.folder.student("phone"))["live"] == 2 * learned_per_epoch(manifest)


def shapes(value: Any) -> Counter[tuple[int, ...]]:
    """How many tensors of each shape there are, however deep."""
    if isinstance(value, Tensor):
        return Counter([tuple(value.shape)])
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return sum((shapes(part) for part in parts), Counter())


def test_distill__workers_change_nothing(elpv_run: Prepared, tmp_path: Path) -> None:
    config = replace(MIXED, live=1.0, fit=replace(STUDENT.fit, epochs=1))
    digests = set()
    for workers in (0, 2):
        run = with_teacher(elpv_run[0], tmp_path / str(workers), "full")
        run = replace(run, trainer=replace(TRAINER, num_workers=workers))
        digests.add(distilled(run, elpv_run[1], config, TWO).weights_digest())
    assert len(digests) == 1
    run = with_teacher(elpv_run[0], tmp_path / "unblended", "full")
    plain = distilled(run, elpv_run[1], replace(config, mixup=0.0), TWO)
    assert plain.weights_digest() not in digests


def test_distill__a_baseline_pays_for_no_teacher(
    elpv_run: Prepared, tmp_path: Path, seen: Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, manifest = with_teacher(elpv_run[0], tmp_path / "run", "full"), elpv_run[1]
    config = MIXED.as_baseline()

    def refuse(*_: Any) -> None:
        pytest.fail("the teacher is asked")

    monkeypatch.setattr(FrozenModel, "compute_outputs", refuse)
    monkeypatch.setattr(FrozenModel, "live_logits", refuse)
    student = distilled(run, manifest, config, ONE)
    nothing = {"images_x_views": 0, "cached": 0, "live": 0}
    assert (passes(run.folder.student(config.name)), seen) == (nothing, {})
    assert not run.folder.cache.exists()
    before = times(run.folder.root)
    for views in (TWO, replace(TWO, count=7)):
        assert distilled(run, manifest, config, views).weights_digest() == student.weights_digest()
    for one in (LIVE, STUDENT, replace(MIXED, live=0.1)):
        assert distilled(run, manifest, one.as_baseline(), ONE).weights_digest() == student.weights_digest()
    assert times(run.folder.root) == before, "how a teacher would be asked changes nothing"
    assert distilled(run, manifest, config, replace(ONE, brightness=0.0)).weights_digest() != (student.weights_digest())


def test_distill__unlabeled_images_sets_of_labels_and_copies(
    elpv_run: Prepared, tmp_path: Path, seen: Counter[int]
) -> None:
    labels = LabelSet(FOUR.names, "multilabel")
    run = replace(with_teacher(elpv_run[0], tmp_path / "run", "full", labels), working_size=36)
    manifest = with_unlabeled(Manifest(labels, elpv_run[1].table), 10)
    student = distilled(run, manifest, replace(LIVE, mixup=0.3), ONE)
    assert student.labels.kind == "multilabel"
    assert seen == {40: 2 * learned_per_epoch(manifest)}
    copies = {path.stem for path in (run.folder.data / "working").rglob("*.jpg")}
    assert copies == set(manifest.usable("train", "unlabeled", "val").column("image_id"))


@pytest.mark.parametrize(
    ("before", "after", "again"),
    [
        (STUDENT, LIVE, True),
        (STUDENT, MIXED, True),
        (MIXED, replace(MIXED, mixup=0.0), True),
        (MIXED, replace(MIXED, live=1.0), True),
        (MIXED, replace(MIXED), False),
    ],
)
def test_distill__is_done_again_for_other_lessons(
    elpv_run: Prepared, tmp_path: Path, before: StudentConfig, after: StudentConfig, again: bool
) -> None:
    run = with_teacher(elpv_run[0], tmp_path / "run", "full")
    written = []
    for config in (before, after):
        distilled(run, elpv_run[1], config, TWO)
        written.append((run.folder.student("phone") / "metrics.json").stat().st_mtime_ns)
    assert (written[0] != written[1]) == again


@pytest.mark.parametrize("mode", ["head", "full"])
def test_train__depends_on_the_number_of_views_where_a_head_is_trained(
    elpv_run: Prepared, tmp_path: Path, mode: Any
) -> None:
    run, config = context(copied(elpv_run[0], tmp_path / "run")), replace(TEACHER, mode=mode)
    teacher = trained(run, elpv_run[1], config, ONE)
    before = times(run.folder.root)
    assert trained(run, elpv_run[1], config, replace(ONE)).weights_digest() == teacher.weights_digest()
    assert times(run.folder.root) == before
    more = trained(run, elpv_run[1], config, TWO)
    assert (more.weights_digest() == teacher.weights_digest()) == (mode == "full")


@pytest.mark.parametrize("mode", ["head", "full"])
@pytest.mark.parametrize(("student", "views"), [(LIVE, ONE), (MIXED, TWO)], ids=["live", "mixed"])
def test_build_cache__makes_what_is_left_to_cache(
    elpv_run: Prepared, tmp_path: Path, student: StudentConfig, views: ViewsConfig, mode: Any
) -> None:
    run, config = context(copied(elpv_run[0], tmp_path / "run")), replace(TEACHER, mode=mode)
    trained(run, elpv_run[1], config, views)
    learned, held_out = (len(elpv_run[1].usable(split)) for split in ("train", "val"))
    made = build_cache(run, elpv_run[1], config, views, [student])
    expected = 0 if mode == "head" else held_out if student is LIVE else 2 * learned + held_out
    assert made.images_x_views == expected
    distilled(run, elpv_run[1], student, views)
    found = passes(run.folder.student("phone"))
    assert found["images_x_views"] == found["live"] > 0
