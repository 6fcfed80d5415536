"""Students of the same wall-clock time: from plain labels, with timm's distillation, and with ours.

``python -m benchmarks.quality [--seconds 120] [--data elpv digits] [--seeds 3]``
Quick: ``--data digits --digits-seconds 3 --seeds 2 --teacher-epochs 1``.

One loop trains every student: the same loader, kind of views, optimizer, batch size and first weights (a seed's), and a
learning rate that follows the clock. Arms take turns, seed by seed, and differ in their supervision alone:

- ``labels``: cross-entropy against the labels.
- ``timm``: ``timm.task.LogitDistillationTask``, whose teacher runs on every batch, with the product's loss weights,
  temperature and teacher's precision. It shows the teacher the student's own tensor, normalized anew, so teacher and
  student have one input size here; timm cannot run a teacher of another, which the product can.
- ``ours``: the same loss of the same views, but of ``--views`` of each image, whose logits are cached before. What
  building the cache took is taken off the clock of every student, although one cache serves all of them.
- ``labels_longer`` (with ``--longer``): plain labels for as long as teacher and student take together, to see whether
  the teacher is worth its training. Elsewhere that is nobody's time: each data set's teacher is trained once, from
  random weights, and both distilling arms learn from it.

Test images share no duplicate with training images; accuracy and agreement are over all of them. Intervals are
Student's t over the seeds, at 95 %: they say how much seeds matter, not how much other test images would. Agreement
with the teacher is what distilling is after; a student of labels does not know of it.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal

import torch
from timm.task import LogitDistillationTask
from torch import Tensor, nn

from benchmarks import common, material
from benchmarks.steps import Loss, steps_of
from benchmarks.tasks import RECIPES, Task, differences, intervals, prepared
from cache.read import ViewOutputs
from data.loaders import EpochSampler, ViewDataset, train_loader
from distill.module import StudentModule
from fitting.module import Batch, warmup_cosine
from models.classifier import Classifier
from models.device import device_of, precision_for
from run.config import TrainerConfig

ARMS = ("labels", "timm", "ours")
TICKS = 1000
"""Steps of the learning rate's schedule, over the whole time."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to supervise a student."""

    seconds: float
    """For each student."""
    loss: Callable[[Classifier], Loss]
    logits: ViewOutputs | None = None
    """The teacher's logits of cached views; without, every epoch has fresh views."""


def options() -> argparse.Namespace:
    """Parse the command line."""
    # float32: as the demo, and as timm runs by default.
    parser = common.parser_of(
        __doc__, "views", "seeds", "teacher-epochs", *common.TRAINER, views=2, precision="32-true"
    )
    parser.add_argument("--data", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--longer", action="store_true", help="labels_longer as well")
    parser.add_argument("--seconds", type=float, default=120.0, help="for each student of elpv")
    parser.add_argument("--digits-seconds", type=float, default=10.0, help="for each student of digits")
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    trainer = common.trainer_of(given)
    with common.scratch() as folder:
        found = {
            name: compare(prepared(folder / name, name, trainer, given.teacher_epochs), name, given)
            for name in given.data
        }
    first = found[given.data[0]]
    common.report(
        "quality",
        ratio=first["arms"]["ours"]["agreement"]["mean"] / first["arms"]["timm"]["agreement"]["mean"],
        against="a live teacher by timm's own task, in the same wall-clock time: agreement with the teacher on test "
        f"images of {given.data[0]}",
        machine=common.torch_machine(trainer),
        seeds=given.seeds,
        views=given.views,
        data=found,
    )


def compare(task: Task, name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Each arm's scores and steps, and the lead of ours over each other one."""
    seconds: float = given.seconds if name == "elpv" else given.digits_seconds
    cache = common.timed(lambda: task.frozen_teacher().compute_logits(task.examples(task.train), given.views))
    if cache.seconds >= seconds:
        raise SystemExit(f"building the cache of {name} took {cache.seconds:.1f} s: give each student more seconds")
    arms = arms_of(task, seconds, cache.value, cache.seconds)
    scores: dict[str, list[dict[str, float]]] = {
        arm: [] for arm in (*ARMS, "labels_longer")[: 4 if given.longer else 3]
    }
    for arm in scores:
        learn(new_student(task, 0), task, replace(arms[arm], seconds=1.0), 0)  # what the first steps take more
    taught = task.decided(task.teacher)
    for seed in range(given.seeds):
        for arm in scores:
            student = new_student(task, seed)
            steps = learn(student, task, arms[arm], seed)
            epochs = steps / (len(task.train) // task.recipe.student.fit.batch_size)
            scores[arm].append({**task.judge(student, taught), "steps": float(steps), "epochs": epochs})
            common.say(f"{name}, seed {seed}, {arm}: {scores[arm][-1]}")
    others = [arm for arm in scores if arm != "ours"]
    return {
        **task.facts(),
        "seconds_to_build_the_cache": cache.seconds,
        "seconds_per_student": {arm: arms[arm].seconds for arm in scores},
        "arms": {arm: intervals(of_arm) for arm, of_arm in scores.items()},
        "differences": {f"ours - {arm}": differences(scores["ours"], scores[arm]) for arm in others},
    }


def arms_of(task: Task, seconds: float, logits: ViewOutputs, cache_seconds: float) -> dict[str, Arm]:
    """Every arm, with what is left to it of the time."""

    def by_product(loss: Literal["labels", "kl"]) -> Callable[[Classifier], Loss]:
        config = replace(task.recipe.student, loss=loss)

        def of(student: Classifier) -> Loss:
            module = StudentModule(student, config)
            return lambda batch: module.losses(batch)["loss"]

        return of

    plain = Arm(seconds=seconds, loss=by_product("labels"))
    return {
        "labels": plain,
        "timm": Arm(seconds=seconds, loss=lambda student: timm_loss(student, task)),
        "ours": Arm(seconds=seconds - cache_seconds, loss=by_product("kl"), logits=logits),
        "labels_longer": replace(plain, seconds=seconds + task.teacher_seconds),
    }


def timm_loss(student: Classifier, task: Task) -> Loss:
    """The loss of timm's distillation task over the student's normalized batches."""
    config = task.recipe.student
    trainer = task.context.trainer
    distilling = LogitDistillationTask(
        student_model=student.model,
        teacher_model=InPrecision(task.teacher, trainer),
        criterion=nn.CrossEntropyLoss(),
        distill_loss_weight=1.0,
        task_loss_weight=config.label_weight,
        temperature=config.temperature,
        device=device_of(trainer),
        verbose=False,
    ).train()

    def loss(batch: Batch) -> Tensor:
        value: Tensor = distilling(student.normalize(batch["image"]), batch["target"].argmax(1))["loss"]
        return value

    return loss


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
    """The recipe's student, with the seed's random weights."""
    config = task.recipe.student
    return material.untrained(config.model, config.image_size, task.manifest.labels, seed)


def learn(student: Classifier, task: Task, arm: Arm, seed: int) -> int:
    """Train a student in place until the arm's time is over, the start of workers included; the number of steps."""
    started = time.perf_counter()  # before the loader: starting its workers is part of what a user waits for
    config = task.recipe.student.fit
    trainer = task.context.trainer
    dataset = ViewDataset(task.examples(task.train), student.spec.render, arm.logits)
    sampler = EpochSampler(len(task.train), arm.logits.shape[1] if arm.logits else None, seed)
    loader = train_loader(dataset, sampler, batch_size=config.batch_size, workers=trainer.workers)
    step = steps_of(student.model, arm.loss(student), config, trainer)
    batches = without_end(loader, sampler)
    steps = 0
    while (spent := (time.perf_counter() - started) / arm.seconds) < 1:
        step(next(batches), warmup_cosine(int(spent * TICKS), TICKS, int(config.warmup * TICKS)))
        steps += 1
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
