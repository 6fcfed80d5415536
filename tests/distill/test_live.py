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

from data.config import ViewsConfig
from data.labels import LabelSet
from data.manifest import Manifest
from distill import teacher as teacher_module
from distill.cache import build_cache
from distill.distill import distill
from distill.module import StudentModule
from distill.teacher import LiveTeacher
from models import checkpoint
from models.classifier import Classifier
from models.forward import forward_of
from run.context import RunContext
from run.folder import RunFolder
from tests.distill.test_cache import passes, with_unlabeled
from tests.distill.test_distill import STUDENT, TEACHER, times
from tests.support import FOUR, TRAINER, context, copied, tiny
from train.train import train

Prepared = tuple[RunFolder, Manifest]
CACHED = ViewsConfig(count=2)
MIXED = replace(CACHED, live=0.5, mixup=0.3)
LIVE = ViewsConfig(count="live")
BATCH = STUDENT.fit.batch_size


@pytest.fixture(params=["head", "full"])
def taught(request: pytest.FixtureRequest, elpv_run: Prepared, tmp_path: Path) -> RunContext:
    """A run with a teacher that has a larger input than its students."""
    return with_teacher(elpv_run[0], tmp_path / "run", request.param)


def with_teacher(run: RunFolder, to: Path, mode: str, labels: LabelSet = FOUR) -> RunContext:
    made = context(copied(run, to))
    checkpoint.save(tiny("test_resnet", labels, 40), made.folder.teacher / "model", {"mode": mode})
    return made


def teacher_of(run: RunContext, labels: LabelSet = FOUR) -> Classifier:
    return checkpoint.load(run.folder.teacher / "model", labels)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[int]]:
    """How many images a live teacher was shown, by their size in pixels."""
    images: Counter[int] = Counter()

    def counting(*given: Any) -> Any:
        forward = forward_of(*given)

        def counted(batch: Tensor) -> Any:
            assert batch.device == next(given[0].model.parameters()).device
            assert not given[0].model.training
            images[batch.shape[-1]] += len(batch)
            return forward(batch)

        return counted

    monkeypatch.setattr(teacher_module, "forward_of", counting)
    return images  # type: ignore[return-value]


def learned_per_epoch(manifest: Manifest) -> int:
    return len(manifest.usable("train", "unlabeled")) // BATCH * BATCH


def test_distill__live_asks_the_teacher_in_every_step_and_caches_validation_alone(
    taught: RunContext, elpv_run: Prepared, seen: Counter[int]
) -> None:
    manifest = elpv_run[1]
    student = distill(taught, manifest, STUDENT, LIVE, teacher_of(taught))
    live, held_out = 2 * learned_per_epoch(manifest), len(manifest.usable("val"))
    assert seen == {40: live}, "its own size, and every training image once an epoch"
    expected = {"images_x_views": live + held_out, "cached": 0, "live": live}
    assert passes(taught.folder.student("phone")) == expected
    metrics = json.loads((taught.folder.student("phone") / "metrics.json").read_text())
    assert metrics["fit"].keys() >= {"val_loss", "val_distilled", "val_labels", "val_agreement"}
    assert checkpoint.load(taught.folder.student("phone") / "model", FOUR).weights_digest() == student.weights_digest()

    before = times(taught.folder.root)
    distill(taught, manifest, STUDENT, LIVE, teacher_of(taught))
    assert times(taught.folder.root) == before, "a second call does nothing"
    distill(taught, manifest, replace(STUDENT, name="browser"), LIVE, teacher_of(taught))
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
    config = replace(STUDENT, fit=replace(STUDENT.fit, epochs=4))
    distill(taught, elpv_run[1], config, replace(MIXED, live=0.25), teacher_of(taught))
    assert set(answered) == {(0, False), (1, False), (2, False), (3, True)}
    live = learned_per_epoch(elpv_run[1])
    assert seen == {40: live}
    cached = 2 * len(elpv_run[1].usable("train")) + len(elpv_run[1].usable("val"))
    assert passes(taught.folder.student("phone")) == {"images_x_views": cached + live, "cached": 0, "live": live}


def test_distill__resumes_in_the_live_part_to_the_same_student(
    taught: RunContext, elpv_run: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, teacher = elpv_run[1], teacher_of(taught)
    config, views = replace(STUDENT, fit=replace(STUDENT.fit, epochs=3)), replace(MIXED, live=0.6)
    cut = context(copied(taught.folder, tmp_path / "cut"))
    expected = distill(taught, manifest, config, views, teacher)
    checkpoints = {}

    def interrupt(module: StudentModule) -> None:
        if module.current_epoch == 2:
            raise KeyboardInterrupt

    for name, looked_at in (("phone", views), ("other", CACHED)):
        with monkeypatch.context() as patch:
            patch.setattr(StudentModule, "on_train_epoch_start", interrupt)
            with pytest.raises(KeyboardInterrupt):
                distill(cut, manifest, replace(config, name=name), looked_at, teacher)
        path = cut.folder.student(name) / "fit" / "last.ckpt"
        checkpoints[name] = torch.load(path, weights_only=True)
    assert shapes(checkpoints["phone"]) == shapes(checkpoints["other"]), "nothing of the teacher is kept"
    assert set(checkpoints["phone"]["state_dict"]) == {f"model.{name}" for name in expected.model.state_dict()}

    torch.manual_seed(99)
    assert distill(cut, manifest, config, views, teacher).weights_digest() == expected.weights_digest()
    assert passes(cut.folder.student("phone"))["live"] == 2 * learned_per_epoch(manifest)


def shapes(value: Any) -> Counter[tuple[int, ...]]:
    """How many tensors of each shape there are, however deep."""
    if isinstance(value, Tensor):
        return Counter([tuple(value.shape)])
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return sum((shapes(part) for part in parts), Counter())


def test_distill__workers_change_nothing(elpv_run: Prepared, tmp_path: Path) -> None:
    views = replace(MIXED, live=1.0)
    config = replace(STUDENT, fit=replace(STUDENT.fit, epochs=1))
    digests = set()
    for workers in (0, 2):
        run = with_teacher(elpv_run[0], tmp_path / str(workers), "full")
        run = replace(run, trainer=replace(TRAINER, num_workers=workers))
        digests.add(distill(run, elpv_run[1], config, views, teacher_of(run)).weights_digest())
    assert len(digests) == 1
    run = with_teacher(elpv_run[0], tmp_path / "unblended", "full")
    plain = distill(run, elpv_run[1], config, replace(views, mixup=0.0), teacher_of(run))
    assert plain.weights_digest() not in digests


def test_distill__a_baseline_pays_for_no_teacher(
    elpv_run: Prepared, tmp_path: Path, seen: Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, manifest = with_teacher(elpv_run[0], tmp_path / "run", "full"), elpv_run[1]
    teacher, config = teacher_of(run), STUDENT.as_baseline()

    def refuse(*_: Any) -> None:
        pytest.fail("the teacher is asked")

    monkeypatch.setattr(teacher.model, "forward", refuse)
    student = distill(run, manifest, config, replace(LIVE, mixup=0.3), teacher)
    nothing = {"images_x_views": 0, "cached": 0, "live": 0}
    assert (passes(run.folder.student(config.name)), seen) == (nothing, {})
    assert not run.folder.cache.exists()
    before = times(run.folder.root)
    for views in (LIVE, MIXED, CACHED, replace(CACHED, count=7)):
        assert distill(run, manifest, config, views, teacher).weights_digest() == student.weights_digest()
    assert times(run.folder.root) == before, "how a teacher would be asked changes nothing"
    assert distill(run, manifest, config, replace(LIVE, brightness=0.0), teacher).weights_digest() != (
        student.weights_digest()
    )


def test_distill__unlabeled_images_sets_of_labels_and_copies(
    elpv_run: Prepared, tmp_path: Path, seen: Counter[int]
) -> None:
    labels = LabelSet(FOUR.names, "multilabel")
    run = replace(with_teacher(elpv_run[0], tmp_path / "run", "full", labels), working_size=36)
    manifest = with_unlabeled(Manifest(labels, elpv_run[1].table), 10)
    student = distill(run, manifest, STUDENT, replace(LIVE, mixup=0.3), teacher_of(run, labels))
    assert student.labels.kind == "multilabel"
    assert seen == {40: 2 * learned_per_epoch(manifest)}
    copies = {path.stem for path in (run.folder.data / "working").rglob("*.jpg")}
    assert copies == set(manifest.usable("train", "unlabeled", "val").column("image_id"))


@pytest.mark.parametrize(
    ("before", "after", "again"),
    [
        (CACHED, LIVE, True),
        (CACHED, MIXED, True),
        (MIXED, replace(MIXED, mixup=0.0), True),
        (MIXED, replace(MIXED, live=1.0), True),
        (MIXED, replace(MIXED), False),
    ],
)
def test_distill__is_done_again_for_other_lessons(
    elpv_run: Prepared, tmp_path: Path, before: ViewsConfig, after: ViewsConfig, again: bool
) -> None:
    run = with_teacher(elpv_run[0], tmp_path / "run", "full")
    written = []
    for views in (before, after):
        distill(run, elpv_run[1], STUDENT, views, teacher_of(run))
        written.append((run.folder.student("phone") / "metrics.json").stat().st_mtime_ns)
    assert (written[0] != written[1]) == again


@pytest.mark.parametrize("mode", ["head", "full"])
def test_train__depends_on_cached_views_alone(elpv_run: Prepared, tmp_path: Path, mode: Any) -> None:
    run, config = context(copied(elpv_run[0], tmp_path / "run")), replace(TEACHER, mode=mode)
    teacher = train(run, elpv_run[1], config, LIVE)
    before = times(run.folder.root)
    for views in (replace(LIVE, mixup=0.3), replace(LIVE, count=1), replace(LIVE, count=1, live=0.5)):
        assert train(run, elpv_run[1], config, views).weights_digest() == teacher.weights_digest()
    assert times(run.folder.root) == before
    more = train(run, elpv_run[1], config, CACHED)
    assert (more.weights_digest() == teacher.weights_digest()) == (mode == "full")


@pytest.mark.parametrize("mode", ["head", "full"])
@pytest.mark.parametrize("views", [LIVE, MIXED], ids=["live", "mixed"])
def test_build_cache__makes_what_is_left_to_cache(
    elpv_run: Prepared, tmp_path: Path, views: ViewsConfig, mode: Any
) -> None:
    run, config = context(copied(elpv_run[0], tmp_path / "run")), replace(TEACHER, mode=mode)
    teacher = train(run, elpv_run[1], config, views)
    learned, held_out = (len(elpv_run[1].usable(split)) for split in ("train", "val"))
    made = build_cache(run, elpv_run[1], config, views)
    expected = 0 if mode == "head" else held_out if views is LIVE else 2 * learned + held_out
    assert made.images_x_views == expected
    distill(run, elpv_run[1], STUDENT, views, teacher)
    found = passes(run.folder.student("phone"))
    assert found["images_x_views"] == found["live"] > 0
