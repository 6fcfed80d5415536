"""How many views the cache has to hold: students of 1, 4 and 16 cached views, and of fresh ones from a live teacher.

``python -m benchmarks.views [--views 1 4 16] [--steps 600] [--data digits] [--seeds 3]``
Quick: ``--views 1 4 --steps 60 --seeds 2 --teacher-epochs 1``.

All students take the same number of steps on the same images and differ in nothing but the views: cached ones come
round again after so many epochs, fresh ones never do, and the teacher runs on every batch of them. Agreement with the
teacher and accuracy are over all held-out images; the seconds stand beside them, building the cache and training apart.
Models, data and intervals are those of ``benchmarks.quality``.
"""

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality import (
    RECIPES,
    Spent,
    Task,
    Teach,
    decided,
    from_cache,
    from_live,
    in_steps,
    interval,
    judge,
    learn,
    new_student,
    prepare_task,
    warm_up,
)
from benchmarks.random_models import add_trainer_options, say, start_like_the_product, timed, torch_machine, trainer_of
from models.view_outputs import Outputs

LIVE = "live"


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=RECIPES, default="digits")
    parser.add_argument("--views", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--steps", type=int, default=600, help="of each student")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--teacher-epochs", type=int, help="3 for elpv and 5 for digits, unasked")
    add_trainer_options(parser)
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    trainer = trainer_of(given)
    with tempfile.TemporaryDirectory() as folder:
        task = prepare_task(Path(folder), RECIPES[given.data], trainer, given.teacher_epochs)
        teacher, found = compare(task, Path(folder), given.views, given.steps, given.seeds)
    most = str(max(given.views))
    result = {
        "name": "views",
        "ratio": found[most]["agreement"]["mean"] / found[LIVE]["agreement"]["mean"],
        "against": f"fresh views from a live teacher: agreement on held-out images, of {most} cached views",
        "machine": torch_machine(trainer),
        "data": given.data,
        "teacher": {"model": task.recipe.teacher, "seconds": task.teacher_seconds, **teacher},
        "student": task.recipe.student,
        "size": task.recipe.size,
        "steps": given.steps,
        "epochs": round(given.steps / (len(task.train) // task.recipe.batch_size), 1),
        "seeds": given.seeds,
        "train_images": len(task.train),
        "held_out_images": len(task.held_out),
        "views": found,
    }
    print(json.dumps(result))


def compare(
    task: Task, folder: Path, numbers: list[int], steps: int, seeds: int
) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """What the teacher scores; and by number of views what its students do, and how long they take."""
    live, taught = from_live(task.forward), decided(task.teacher, task)
    warm_up(task, task.forward)
    found: dict[str, dict[str, Any]] = {}
    for views in sorted(numbers):
        root = folder / f"cache of {views}"  # one each: the smaller ones would be part of the larger
        filled = timed(partial(task.cache, root, views))
        scores = students(task, taught, from_cache, in_steps(steps), seeds, (filled.value, views))
        found[str(views)] = {"seconds_to_build_the_cache": filled.seconds, **scores}
        say(f"{views} views: {found[str(views)]}")
    found[LIVE] = students(task, taught, live, in_steps(steps), seeds)
    say(f"fresh views: {found[LIVE]}")
    return judge(task.teacher, task, taught), found


def students(
    task: Task,
    taught: NDArray[np.intp],
    teach: Teach,
    spent: Spent,
    seeds: int,
    cached: tuple[Outputs, int] | tuple[None, None] = (None, None),
) -> dict[str, dict[str, float | None]]:
    """Scores and seconds of a student for each seed, as intervals."""
    found: list[dict[str, float]] = []
    for seed in range(seeds):
        student = new_student(task, seed)
        seconds = timed(partial(learn, student, task, teach, spent, seed, *cached)).seconds
        found.append({**judge(student, task, taught), "seconds_to_train": seconds})
    return {key: interval([one[key] for one in found]) for key in found[0]}


if __name__ == "__main__":
    start_like_the_product()
    main()
