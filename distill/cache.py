"""The view cache by itself: made ahead by many machines, and checked against the live teacher."""

from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl

from cache.check import Difference, compare
from cache.fill import PassCount
from cache.frozen import FrozenModel
from cache.passes import cached_passes
from data.config import ViewsConfig
from data.examples import Examples
from data.labels import LabelSet
from data.manifest import SPLITS, Manifest
from distill.config import StudentConfig
from distill.lessons import passes_for
from run.console import console, log
from run.context import RunContext
from run.errors import UserError, listed
from train.config import TeacherConfig
from train.teacher import load_teacher, starting_point


def build_cache(
    context: RunContext,
    manifest: Manifest,
    config: TeacherConfig,
    views: ViewsConfig,
    students: Sequence[StudentConfig],
) -> PassCount:
    """Make what ``train`` and ``distill`` will ask of the cache, as one of the processes that were started for it.

    Returns:
        How many images × views went through the model in all processes.

    Raises:
        UserError: as ``cache.fill.fill``; or the teacher is to be fully fine-tuned, and has to be trained first.
    """
    models = _load_models(context, manifest.labels, config)
    if not models:
        raise UserError(
            f"a teacher in mode {config.mode} has nothing to cache before it is trained: run `pocketeva train`"
        )
    asking = [passes_for(student, views) for student in students if student.loss != "labels"]
    count = PassCount()
    for model in models:
        for one in cached_passes(model.output, config.mode, views, asking):
            model.compute_outputs(one.make_examples(context, manifest, views), one.views)
        count.add(model.passes)
    log.print(f"{count.images_x_views:,} images × views computed, {count.cached:,} were there")
    return count


def check_cache(
    context: RunContext, manifest: Manifest, config: TeacherConfig, views: ViewsConfig, sample: int
) -> bool:
    """Run the live teacher over so many of the cached images × views, and print how far the cache is from it.

    Returns:
        True where every checksum is right and no difference is larger than rounding explains.

    Raises:
        UserError: nothing is cached for this teacher and these views.
    """
    parts = [
        Examples.make_working_copies(manifest.usable("train", "unlabeled", "val"), views, context),
        Examples.of_originals(manifest.usable(*SPLITS), views),
    ]
    found: dict[Path, Difference] = {}
    for model in _load_models(context, manifest.labels, config):
        for part in parts:
            cache = model.cache(part.views)
            if cache.folder.is_dir():
                # Without working copies both parts share a folder; the second one, which has every split, counts.
                found[cache.folder] = compare(cache, part.rows, model.forward, sample)
    if not found:
        raise UserError(
            f"nothing is cached below {context.folder.cache} for this teacher and these views; `pocketeva train` and "
            "`pocketeva distill` make the cache, and so does `pocketeva cache build`"
        )
    for folder, difference in found.items():
        _show(folder, difference)
    return all(difference.passes for difference in found.values())


def _load_models(context: RunContext, labels: LabelSet, config: TeacherConfig) -> list[FrozenModel]:
    """The frozen models whose outputs are cached, as far as they are there."""
    models: list[FrozenModel] = []
    if config.trains_head:
        # As in ``train``: random weights have to be the very ones that will be trained.
        pl.seed_everything(context.seed, verbose=False)
        models.append(FrozenModel(starting_point(labels, config), "features", context))
    if config.mode != "head" and (context.folder.teacher / "model").is_dir():
        models.append(load_teacher(context, labels))
    return models


def _show(folder: Path, difference: Difference) -> None:
    counts = f"{difference.cached:,} images × views of the manifest, {difference.sampled:,} computed again"
    largest = f"{difference.largest:.3g} (up to {difference.allowed:.3g} is rounding)"
    console.print(f"{folder}: {counts}\n  largest difference {largest}: {difference.where}", soft_wrap=True)
    if difference.damaged:
        console.print(f"  damaged shards, made again when they are asked for:\n{listed(difference.damaged)}")
    if not difference.passes:
        console.print("  this is not what the teacher gives", soft_wrap=True)
