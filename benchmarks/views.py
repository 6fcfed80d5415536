"""Views that the cache has to hold: students of 1, 4 and 16 cached views, and of fresh ones from a live teacher.

``python -m benchmarks.views [--views 1 4 16] [--epochs 32] [--data digits] [--seeds 3]``
Quick: ``--views 1 4 --epochs 2 --seeds 2 --teacher-epochs 1``.

All students are made by ``pocketeva distill`` with the same settings but ``views.count``, or ``students[].live: 1`` for
fresh views, so they take as many steps on the same images: cached views come round again after so many epochs, fresh
ones never do, and the teacher runs on every batch of them. More cached views than epochs would be as good as fresh
ones. Agreement with the teacher and accuracy are over all test images; what is paid for them stands beside: seconds to
build the cache, which serves all students, and to train one student, and how many images went through the teacher for
either. Data, models and intervals are those of ``benchmarks.quality``.
"""

import argparse
import json
import shutil
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks import common
from benchmarks.tasks import RECIPES, Task, differences, intervals, prepared
from distill.distill import distill
from models import checkpoint

Count = int | Literal["live"]


def options() -> argparse.Namespace:
    """Parse the command line."""
    # float32: as the demo, and as timm runs by default.
    parser = common.parser_of(__doc__, "seeds", "teacher-epochs", *common.TRAINER, precision="32-true")
    parser.add_argument("--data", choices=RECIPES, default="digits")
    parser.add_argument("--views", type=int, nargs="+", default=[1, 4, 16], help="beside live")
    parser.add_argument("--epochs", type=int, default=32, help="of each student")
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    trainer = common.trainer_of(given)
    with common.scratch() as folder:
        task = prepared(folder, given.data, trainer, given.teacher_epochs)
        taught = task.decided(task.teacher)
        scores = {str(count): students(task, taught, count, given) for count in (*given.views, "live")}
        facts = task.facts()
    most = str(max(given.views))
    common.report(
        "views",
        ratio=mean_agreement(scores[most]) / mean_agreement(scores["live"]),
        against=f"fresh views from a live teacher: agreement with it on test images, of {most} cached views",
        machine=common.torch_machine(trainer),
        data=given.data,
        **facts,
        epochs=given.epochs,
        seeds=given.seeds,
        views={count: intervals(of_count) for count, of_count in scores.items()},
        differences={f"{count} - live": differences(scores[count], scores["live"]) for count in map(str, given.views)},
    )


def mean_agreement(scores: list[dict[str, float]]) -> float:
    """Over the seeds."""
    return float(np.mean([score["agreement"] for score in scores]))


def students(task: Task, taught: NDArray[np.intp], count: Count, given: argparse.Namespace) -> list[dict[str, float]]:
    """A student's scores and their price, for each seed; each count has a cache of its own."""
    live = count == "live"
    views = replace(task.recipe.views, count=1 if count == "live" else count)
    config = replace(task.recipe.student, live=float(live))
    shutil.rmtree(task.context.folder.cache, ignore_errors=True)
    known = task.manifest.usable("val") if live else task.taught
    cache = common.timed(lambda: task.frozen_teacher().compute_logits(task.examples(known), views.count))
    found: list[dict[str, float]] = []
    for seed in range(given.seeds):
        one = replace(config, name=f"{count}-{seed}", fit=replace(config.fit, epochs=given.epochs))
        context = replace(task.context, seed=seed)
        trained = common.timed(lambda: distill(context, task.manifest, one, views, task.frozen_teacher()))  # noqa: B023
        student = checkpoint.load(context.folder.student(one.name) / "model", task.manifest.labels)
        passes: dict[str, Any] = json.loads((context.folder.student(one.name) / "metrics.json").read_text())
        found.append(
            {
                **task.judge(student, taught),
                "seconds_to_build_the_cache": cache.seconds,
                "seconds_to_train": trained.seconds,
                "live_images_x_views": passes["teacher_passes"]["live"],
            }
        )
        common.say(f"views {count}, seed {seed}: {found[-1]}")
    return found


if __name__ == "__main__":
    common.start_like_the_product()
    main()
