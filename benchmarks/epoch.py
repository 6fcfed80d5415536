"""Seconds of one student epoch: taught from the cache, on plain labels, and by a teacher that runs live.

``python -m benchmarks.epoch [--images 256] [--live-images 16]``
On a GPU: ``--images 8192 --batch-size 128 --live-images 2048``.

All read the same JPEG files through worker processes and train the same student with the product's loss, in a plain
loop without Lightning; only where the teacher's logits come from differs. From the cache they are either cached logits
or, as with a head-mode teacher, the head applied to cached features. Live, the files are decoded once and rendered
twice, and the teacher runs between loader and student. The first three take turns, the median counts; live is slow, so
images/s of fewer images are compared there.

What the cache holds is random numbers: that does not change how long reading them takes.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from benchmarks import common, material
from benchmarks.steps import steps_of
from cache.read import HeadLogits, ViewOutputs, read_outputs
from data.examples import Examples
from data.loaders import EpochSampler, ViewDataset, train_loader
from data.manifest import Manifest
from distill.config import StudentConfig
from distill.module import StudentModule
from distill.teacher import LiveTeacher
from fitting.config import FitConfig
from fitting.module import Batch
from models.classifier import Classifier
from models.device import precision_for
from models.forward import Output, forward_of
from run.config import TrainerConfig

DISTINCT_FILES = 256
Epoch = Callable[[], object]


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser_of(__doc__, "pixels", "views", "turns", *common.TRAINER, views=2, turns=5)
    parser.add_argument("--images", type=int, default=256, help="in an epoch")
    parser.add_argument("--live-images", type=int, default=16, help="that are measured with a live teacher")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--live-batch-size", type=int, default=8)
    parser.add_argument("--labels", type=int, default=4)
    parser.add_argument("--student", default="mobilenetv4_conv_small")
    parser.add_argument("--student-size", type=int, default=224, help="its input, in pixels")
    parser.add_argument("--teacher", default="eva02_base_patch14_448")
    parser.add_argument("--teacher-size", type=int, default=448, help="its input, in pixels")
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    trainer = common.trainer_of(given)
    labels = material.labels_of(given.labels)
    teacher = material.untrained(given.teacher, given.teacher_size, labels)
    student = material.untrained(given.student, given.student_size, labels)
    with common.scratch() as folder:
        paths = material.write_photographs(folder / "images", min(DISTINCT_FILES, given.images), given.pixels)
        manifest = material.synthetic_manifest(paths, {"train": given.images}, labels)
        sources = {
            "cached_logits": cached(folder, teacher, "logits", manifest, given.views),
            "cached_features": cached(folder, teacher, "features", manifest, given.views),
        }
        epochs = {name: cached_epoch(student, manifest, logits, given, trainer) for name, logits in sources.items()}
        epochs["plain_labels"] = plain_epoch(student, manifest, given, trainer)
        seconds = median_seconds(epochs, given.turns)
        live = live_seconds(student, teacher, manifest, given, trainer)
    plain = seconds["plain_labels"]
    common.report(
        "epoch",
        ratio=max(seconds["cached_logits"], seconds["cached_features"]) / plain,
        against="an epoch on plain labels, seconds; the slower of cached logits and cached features with a head",
        live_over_plain_per_image=live / plain * given.images,
        live_over_cached_per_image=live / seconds["cached_features"] * given.images,
        machine=common.torch_machine(trainer),
        student=f"{given.student} at {given.student_size}, random weights",
        teacher=f"{given.teacher} at {given.teacher_size}, random weights",
        images=given.images,
        live_images=given.live_images,
        seconds_per_epoch=seconds,
        images_per_s={name: given.images / value for name, value in seconds.items()} | {"live": 1 / live},
    )


def median_seconds(epochs: dict[str, Epoch], turns: int) -> dict[str, float]:
    """Median seconds of each, all taking turns, after one turn that does not count."""
    sides = {name: partial(seconds_of, epoch) for name, epoch in epochs.items()}
    return {name: statistics.median(seconds[1:]) for name, seconds in common.in_turns(sides, turns + 1).items()}


def seconds_of(epoch: Epoch) -> float:
    """Seconds of one epoch."""
    return common.timed(epoch).seconds


def cached(folder: Path, teacher: Classifier, output: Output, manifest: Manifest, views: int) -> ViewOutputs:
    """Logits of the manifest's views out of a cache of random numbers."""
    width = teacher.feature_width if output == "features" else len(teacher.labels)
    key = material.random_key(teacher, output, width)
    small = replace(key, input=replace(key.input, size=32))  # nobody looks at the renders
    cache = material.write_random_cache(folder, small, manifest, views)
    outputs = read_outputs(cache, manifest.column("image_id"), views)
    return HeadLogits(teacher, outputs) if output == "features" else outputs


def cached_epoch(
    student: Classifier, manifest: Manifest, logits: ViewOutputs, given: argparse.Namespace, trainer: TrainerConfig
) -> Epoch:
    """An epoch that learns cached logits and labels."""
    dataset = ViewDataset(Examples(manifest, material.SPEC), student.spec.render, logits)
    loader = train_loader(
        dataset, EpochSampler(len(manifest), given.views, 0), batch_size=given.batch_size, workers=trainer.workers
    )
    learn = step(student, "kl", given.batch_size, trainer)
    return lambda: [learn(batch) for batch in loader]


def plain_epoch(student: Classifier, manifest: Manifest, given: argparse.Namespace, trainer: TrainerConfig) -> Epoch:
    """An epoch that learns the labels alone, from the same views."""
    loader = train_loader(
        ViewDataset(Examples(manifest, material.SPEC), student.spec.render),
        EpochSampler(len(manifest), given.views, 0),
        batch_size=given.batch_size,
        workers=trainer.workers,
    )
    learn = step(student, "labels", given.batch_size, trainer)
    return lambda: [learn(batch) for batch in loader]


def live_seconds(
    student: Classifier, teacher: Classifier, manifest: Manifest, given: argparse.Namespace, trainer: TrainerConfig
) -> float:
    """Seconds an image with a live teacher, which is shown its own render of each view."""
    part = Manifest(manifest.labels, manifest.table.slice(0, given.live_images))
    dataset = ViewDataset(Examples(part, material.SPEC), student.spec.render, teacher_render=teacher.spec.render)
    sampler = EpochSampler(len(part), None, 0)
    loader = train_loader(dataset, sampler, batch_size=given.live_batch_size, workers=trainer.workers)
    forward = forward_of(teacher, "logits", trainer, precision_for(teacher.model, trainer))
    live = LiveTeacher(forward, 0.0, 0)
    learn = step(student, "kl", given.live_batch_size, trainer)
    forward(torch.zeros(1, 3, teacher.spec.size, teacher.spec.size, dtype=torch.uint8))

    def epoch() -> int:
        images = 0
        for number, batch in enumerate(loader):
            live.answer(batch, 0, number)
            learn(batch)
            images += len(batch["image"])
        return images

    taken = common.timed(epoch)
    common.say(f"live: {taken.seconds:.1f} s for {taken.value} images")
    return taken.seconds / taken.value


def step(
    student: Classifier, loss: Literal["kl", "labels"], batch_size: int, trainer: TrainerConfig
) -> Callable[[Batch], None]:
    """One step of the product's student module with AdamW."""
    fit = FitConfig(epochs=1, batch_size=batch_size, lr=1e-4)
    module = StudentModule(student, StudentConfig(name="student", loss=loss, fit=fit))
    take = steps_of(student.model, lambda batch: module.losses(batch)["loss"], fit, trainer)
    return lambda batch: take(batch, 1.0)


if __name__ == "__main__":
    common.start_like_the_product()
    main()
