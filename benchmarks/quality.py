"""What a student learns in the same wall-clock time: from plain labels, from a live teacher, and from the view cache.

``python -m benchmarks.quality [--seconds 40] [--data elpv digits] [--seeds 3]``
Quick: ``--seconds 3 --digits-seconds 2 --seeds 2 --teacher-epochs 1 --data digits``.

One loop trains every student: the same loader, kind of views, optimiser, batch size and first weights (a seed's), and a
learning rate that follows the clock. Only the supervision differs:

- ``labels``: cross-entropy against the labels.
- ``live``: beside it KL against a teacher that runs on every batch, as in timm's ``LogitDistillationTask``: it is shown
  the student's own tensor, normalised anew, which gives the same numbers as normalising the student's pixels for the
  teacher. Teacher and student have one size here, or timm could not run at all.
- ``cached``: the same loss, the logits from the view cache. The seconds that building the cache took are taken off the
  time of every student, although one cache would serve them all.

Each data set's teacher is trained once, from random weights, and always the same; its time is nobody's. Held-out images
are none of the training images, exact duplicates left out; accuracy and agreement are over all of them. Intervals are
Student's t over the seeds, at 95 %: they say how much seeds matter, not how much another set of test images would.
Agreement with a teacher is what both distilling arms are after; a student of labels does not know of it.
"""

import argparse
import hashlib
import io
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import t as student_t
from timm.optim import param_groups_weight_decay
from torch import Tensor

from benchmarks.random_models import (
    add_trainer_options,
    labels_of,
    say,
    start_like_the_product,
    timed,
    torch_machine,
    trainer_of,
)
from data.config import ViewsConfig
from data.labels import LabelSet
from data.loaders import EpochSampler, ViewDataset, train_loader
from data.manifest import Manifest
from data.views import ViewSpec
from distill.losses.kl import kl_divergence
from distill.losses.labels import labelled_loss
from models.classifier import Classifier, build
from models.forward import Forward, device_of, forward_of, whole_image_logits
from models.view_cache import outputs_over_views
from models.view_outputs import Outputs
from run.config import TrainerConfig
from run.fit import Batch, resolve_precision, warmup_cosine

HELD_OUT = 0.3
LABEL_WEIGHT = 0.2
WARMUP = 0.1
ARMS = ("labels", "live", "cached")

Teach = Callable[[Batch], Tensor | None]
"""The teacher's logits [B, C] for a batch, or none."""
Spent = Callable[[int], float]
"""Which share of the time or the steps is used up, after so many steps; the training ends at 1."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A data set, its models, and how they are trained."""

    name: str
    labels: LabelSet
    views: ViewsConfig
    size: int
    teacher: str
    convolutional: bool
    """The teacher."""
    teacher_epochs: int
    teacher_lr: float
    student: str
    student_lr: float
    batch_size: int


DIGITS = Recipe(
    name="digits",
    labels=labels_of(10),
    views=ViewsConfig(count=2, crop_scale=(0.7, 1.0), horizontal_flip=False),
    size=32,
    teacher="resnet18",
    convolutional=True,
    teacher_epochs=5,
    teacher_lr=1e-3,
    student="test_efficientnet",
    student_lr=4e-3,
    batch_size=32,
)
ELPV = Recipe(
    name="elpv",
    labels=labels_of(4),
    views=ViewsConfig(count=2, crop_scale=(0.8, 1.0), vertical_flip=True, brightness=0.0, contrast=0.0),
    size=112,
    teacher="eva02_tiny_patch14_224",
    convolutional=False,
    teacher_epochs=3,
    teacher_lr=7e-4,
    student="mobilenetv4_conv_small",
    student_lr=1.5e-3,
    batch_size=32,
)
RECIPES = {"elpv": ELPV, "digits": DIGITS}


@dataclass(frozen=True, kw_only=True)
class Task:
    """A recipe with its images on disk and its trained teacher."""

    recipe: Recipe
    train: Manifest
    held_out: Manifest
    teacher: Classifier
    teacher_seconds: float
    trainer: TrainerConfig

    @property
    def spec(self) -> ViewSpec:
        """The distribution of the views."""
        return ViewSpec.of(self.recipe.views)

    @property
    def precision(self) -> str:
        """The teacher's."""
        return resolve_precision(self.trainer, convolutional=self.recipe.convolutional)

    @property
    def forward(self) -> Forward:
        """The frozen teacher, uint8 images to logits."""
        return forward_of(self.teacher, "logits", self.trainer, self.precision)

    def cache(self, root: Path, views: int) -> Outputs:
        """The teacher's logits for views of the training images, computed if they are not below ``root``."""
        settings: dict[str, Any] = {"root": root, "trainer": self.trainer, "precision": self.precision}
        return outputs_over_views(self.teacher, "logits", self.train, views, self.spec, **settings)


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seconds", type=float, default=40.0, help="for each student of elpv")
    parser.add_argument("--digits-seconds", type=float, default=10.0, help="for each student of digits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--views", type=int, help="in the cache; 2, unasked")
    parser.add_argument("--teacher-epochs", type=int, help="3 for elpv and 5 for digits, unasked")
    add_trainer_options(parser)
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    trainer = trainer_of(given)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in given.data:
            task = prepare_task(Path(folder) / name, RECIPES[name], trainer, given.teacher_epochs)
            seconds = given.seconds if name == "elpv" else given.digits_seconds
            found[name] = compare(task, Path(folder) / name, seconds, given.seeds, given.views)
    first = found[given.data[0]]["agreement"]
    result = {
        "name": "quality",
        "ratio": first["cached"]["mean"] / first["live"]["mean"],
        "against": f"a live teacher as timm runs it: agreement with the teacher on held-out images of {given.data[0]}, "
        "at equal wall-clock time",
        "machine": torch_machine(trainer),
        "seeds": given.seeds,
        "data": found,
    }
    print(json.dumps(result))


def compare(task: Task, folder: Path, seconds: float, seeds: int, views: int | None) -> dict[str, Any]:
    """Accuracy and agreement of each arm, and what each had time for."""
    count = views or task.recipe.views.count
    forward, taught = task.forward, decided(task.teacher, task)
    warm_up(task, forward)
    built = timed(lambda: task.cache(folder / "cache", count))
    if built.seconds >= seconds:
        raise SystemExit(f"building the cache of {task.recipe.name} took {built.seconds:.1f} s: give more --seconds")
    teach: dict[str, Teach] = {"labels": from_labels, "live": from_live(forward), "cached": from_cache}
    scores: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for seed in range(seeds):
        for arm in ARMS:
            left = seconds - (built.seconds if arm == "cached" else 0.0)
            cached = (built.value, count) if arm == "cached" else (None, None)
            student = new_student(task, seed)
            steps = learn(student, task, teach[arm], clock(left), seed, *cached)
            scores[arm].append({**judge(student, task, taught), "steps": float(steps)})
            say(f"{task.recipe.name}, seed {seed}, {arm}: {scores[arm][-1]}")
    agreement, accuracy, steps_of = (
        {arm: interval([score[key] for score in scores[arm]]) for arm in ARMS}
        for key in ("agreement", "accuracy", "steps")
    )
    differences = {
        f"cached - {arm}": interval(
            [
                ours["agreement"] - theirs["agreement"]
                for ours, theirs in zip(scores["cached"], scores[arm], strict=True)
            ]
        )
        for arm in ("labels", "live")
    }
    return {
        "seconds_per_student": seconds,
        "seconds_to_build_the_cache": built.seconds,
        "views": count,
        "teacher": {"model": task.recipe.teacher, "seconds": task.teacher_seconds, **judge(task.teacher, task, taught)},
        "student": task.recipe.student,
        "size": task.recipe.size,
        "train_images": len(task.train),
        "held_out_images": len(task.held_out),
        "agreement": agreement,
        "agreement_differences": differences,
        "accuracy": accuracy,
        "steps": steps_of,
    }


def interval(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, and half the width of its 95 % interval by Student's t; a single value has none."""
    half = None
    if len(values) > 1:
        half = float(student_t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"mean": float(np.mean(values)), "plus_minus": half}


def prepare_task(folder: Path, recipe: Recipe, trainer: TrainerConfig, teacher_epochs: int | None = None) -> Task:
    """Write or find the images, split them and train the teacher."""
    files = elpv_files() if recipe.name == "elpv" else digit_files(folder / "images")
    train, held_out = split(files, recipe.labels)
    torch.manual_seed(0)
    teacher = small(recipe.teacher, recipe)
    task = Task(recipe=recipe, train=train, held_out=held_out, teacher=teacher, teacher_seconds=0.0, trainer=trainer)
    total = (teacher_epochs or recipe.teacher_epochs) * (len(train) // recipe.batch_size)
    say(f"{recipe.name}: training the teacher for {total} steps")
    trained = timed(lambda: learn(teacher, task, from_labels, in_steps(total), 0, lr=recipe.teacher_lr))
    say(f"{recipe.name}: the teacher took {trained.seconds:.0f} s")
    return replace(task, teacher_seconds=trained.seconds)


def elpv_files() -> list[tuple[Path, int]]:
    """The demo's photographs with their classes."""
    from tests.support import elpv_rows  # and with it what prepare needs

    return elpv_rows()


def digit_files(folder: Path) -> list[tuple[Path, int]]:
    """scikit-learn's digits, enlarged from 8 to 32 pixels, as PNG files with their classes."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / f"{number}.png"
        image = Image.fromarray((pixels * (255 / 16)).astype(np.uint8)).convert("RGB")
        image.resize((DIGITS.size, DIGITS.size), Image.Resampling.BICUBIC).save(path)
        files.append((path, int(label)))
    return files


def split(files: Sequence[tuple[Path, int]], labels: LabelSet) -> tuple[Manifest, Manifest]:
    """Training and held-out rows, always the same ones; of files with equal pixels the first alone."""
    unique: dict[str, dict[str, Any]] = {}
    for path, label in files:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            pixels = hashlib.sha256(np.asarray(image).tobytes()).hexdigest()
        target = [float(index == label) for index in range(len(labels))]
        row = {"image_id": hashlib.sha256(data).hexdigest(), "uri": str(path), "target": target, "status": "ok"}
        unique.setdefault(pixels, row)
    rows = list(unique.values())
    order = np.random.default_rng(0).permutation(len(rows))
    held_out = set(order[: round(HELD_OUT * len(rows))].tolist())
    whole = Manifest.of(
        labels, [{**row, "split": "test" if number in held_out else "train"} for number, row in enumerate(rows)]
    )
    return whole.usable("train"), whole.usable("test")


def small(name: str, recipe: Recipe) -> Classifier:
    """An untrained model of the recipe's size that squashes its input."""
    classifier = build(name, recipe.labels, key="model", pretrained=False, image_size=recipe.size)
    return replace(classifier, spec=classifier.spec.squashed())


def new_student(task: Task, seed: int) -> Classifier:
    """The recipe's student, with the seed's random weights."""
    torch.manual_seed(seed)
    student = small(task.recipe.student, task.recipe)
    student.model.to(memory_format=torch.channels_last)  # as the product does
    return student


def from_labels(_: Batch) -> None:
    """No teacher."""


def from_cache(batch: Batch) -> Tensor:
    """What the cache held for these views, which the loader has read."""
    logits: Tensor = batch["teacher"]
    return logits


def from_live(forward: Forward) -> Teach:
    """What the teacher says of the student's render."""
    return lambda batch: torch.from_numpy(forward(batch["image"]))


def clock(seconds: float) -> Spent:
    """Seconds from the first time it is asked."""
    started: list[float] = []

    def spent(_: int) -> float:
        started.append(time.perf_counter()) if not started else None
        return (time.perf_counter() - started[0]) / seconds

    return spent


def in_steps(total: int) -> Spent:
    """Steps, whatever they take."""
    return lambda steps: steps / total


def learn(
    model: Classifier,
    task: Task,
    teach: Teach,
    spent: Spent,
    seed: int,
    cache: Outputs | None = None,
    views: int | None = None,
    lr: float | None = None,
) -> int:
    """Train a model in place until ``spent`` says 1.

    Args:
        model: to train.
        task: its training images.
        teach: gives the teacher's logits for a batch.
        spent: how far the training is; the learning rate follows it.
        seed: of the order of the images.
        cache: the teacher's logits of ``views`` views of each image.
        views: to go through; null takes fresh ones every epoch.
        lr: the highest learning rate; null takes the student's.

    Returns:
        The number of steps.
    """
    spent(0)
    recipe, device = task.recipe, device_of(task.trainer)
    peak = recipe.student_lr if lr is None else lr
    dataset = ViewDataset(task.train, model.spec.render, task.spec, cache)
    sampler = EpochSampler(len(task.train), views, seed)
    loader = train_loader(dataset, sampler, batch_size=recipe.batch_size, workers=task.trainer.workers)
    network = model.model.to(device).train()
    optimizer = torch.optim.AdamW(param_groups_weight_decay(network, 0.02), lr=peak)
    steps = epoch = 0
    while True:
        sampler.set_epoch(epoch)
        for batch in loader:
            share = spent(steps)
            if share >= 1:
                network.eval()
                return steps
            for group in optimizer.param_groups:
                group["lr"] = peak * warmup_cosine(int(share * 1000), 1000, int(WARMUP * 1000))
            value = loss(network(model.normalise(batch["image"].to(device))), batch, teach(batch))
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            steps += 1
        epoch += 1


def loss(logits: Tensor, batch: Batch, teacher: Tensor | None) -> Tensor:
    """The labels' cross-entropy alone, or the product's loss for a student."""
    labels = labelled_loss(logits, batch["target"].to(logits.device), batch["labelled"].to(logits.device), "nominal")
    if teacher is None:
        return labels
    return kl_divergence(logits, teacher.to(logits.device), 1.0) + LABEL_WEIGHT * labels


def warm_up(task: Task, forward: Forward) -> None:
    """What the first use of either model takes, before any clock runs."""
    forward(torch.zeros(task.recipe.batch_size, 3, task.recipe.size, task.recipe.size, dtype=torch.uint8))
    learn(new_student(task, 0), task, from_labels, in_steps(2), 0)


def judge(model: Classifier, task: Task, taught: NDArray[np.intp]) -> dict[str, float]:
    """Accuracy, and agreement with what the teacher decided [N], on the held-out images as they are."""
    said, right = decided(model, task), task.held_out.targets().argmax(1)
    return {"accuracy": float((said == right).mean()), "agreement": float((said == taught).mean())}


def decided(model: Classifier, task: Task) -> NDArray[np.intp]:
    """Label index [N] of each held-out image."""
    logits = whole_image_logits(model, task.held_out, task.spec, task.trainer, "32-true", "judging")
    return np.asarray(logits.argmax(1), np.intp)


if __name__ == "__main__":
    start_like_the_product()
    main()
