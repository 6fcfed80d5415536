"""A teacher's head, solved on cached features, and the record of how it went."""

from functools import partial
from pathlib import Path

import torch

from cache.frozen import FrozenModel
from data.examples import Examples
from fitting.history import Epoch, best_of, write_history
from models import checkpoint
from models.classifier import Classifier
from models.decision import DecisionRule
from models.facts import CheckpointFacts
from run.context import RunContext
from run.ranks import once
from train.config import TeacherConfig
from train.losses import Costs, class_weights, label_loss
from train.optimum import Images, solve

NAME = "teacher head"


def fit_head(
    context: RunContext,
    config: TeacherConfig,
    backbone: FrozenModel,
    learned: tuple[Examples, int],
    held_out: Examples,
    costs: Costs | None,
    folder: Path,
) -> list[Epoch]:
    """Solve the head of the backbone's classifier in place; features that are not cached are computed first.

    Where there are several processes, all have to call this.

    Args:
        learned: the images to learn from, and how many views of each.
        folder: for ``history.json``, and what trackers write.

    Returns:
        What each weight decay came to.
    """
    teacher = backbone.classifier
    images, views = learned
    to_learn = Images(backbone.compute_outputs(images, views), images.rows.targets())
    to_judge = Images(backbone.compute_outputs(held_out, 1), held_out.rows.targets())
    weights = class_weights(to_learn.targets, config.class_weighting, teacher.labels).double()
    rule = DecisionRule.of(teacher.labels)
    of_costs = None if costs is None else torch.tensor(costs, dtype=torch.float64)
    loss = partial(label_loss, rule=rule, weights=weights, costs=of_costs)
    head = teacher.head
    path: list[Epoch] = once(lambda: solve(head, config.head, to_learn, to_judge, loss, rule, keep=teacher.keeps_head))
    # Others did not solve it: with other numbers of threads, sums differ in their last bits.
    head.load_state_dict(once(lambda: {name: values.cpu() for name, values in head.state_dict().items()}))
    once(lambda: _record(context, teacher, path, folder))
    return path


def _record(context: RunContext, teacher: Classifier, path: list[Epoch], folder: Path) -> None:
    """Write the path, hand it to the trackers, and publish the head where fits are published."""
    folder.mkdir(parents=True, exist_ok=True)
    write_history(folder, path)
    if context.tracking.tensorboard or context.tracking.wandb != "disabled":
        _track(context, path, folder)
    if context.publish is not None:
        best = best_of(path)
        facts = CheckpointFacts(labels=teacher.labels, uncalibrated="is still being trained", val_loss=best.val_loss)
        checkpoint.save(teacher, folder / "best", facts)
        context.publish("teacher", folder / "best", f"{NAME}: validation loss {best.val_loss:.4f}")


def _track(context: RunContext, path: list[Epoch], folder: Path) -> None:
    """Log the path as a fit logs its epochs."""
    from fitting.tracking import finishing, loggers  # Lightning takes seconds, and nothing else needs it for a head

    with finishing(context.tracking):
        for logger in loggers(NAME, folder, context):
            for step, point in enumerate(path):
                values = {
                    "train_loss": point.train_loss,
                    "val_loss": point.val_loss,
                    "weight_decay": point.weight_decay,
                }
                values |= {f"val_{name}": share for name, share in point.shares.items()}
                logger.log_metrics({name: value for name, value in values.items() if value is not None}, step)
            logger.finalize("success")
