"""The view cache by itself: made ahead by many machines, and checked against the live teacher."""

from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl

from cache.check import Difference, compare
from cache.key import CacheKey
from cache.view_cache import Passes, ViewCache, outputs_over_views
from data.config import ViewsConfig
from data.manifest import SPLITS, Manifest
from data.views import ViewSpec
from data.working import with_copies
from distill.config import StudentConfig
from models import checkpoint
from models.classifier import Classifier
from models.device import resolve_precision
from models.forward import Output, forward_of
from run.console import console, log
from run.context import RunContext
from run.errors import UserError, listed
from train.config import TeacherConfig
from train.train import starting_point


def build_cache(
    context: RunContext,
    manifest: Manifest,
    config: TeacherConfig,
    views: ViewsConfig,
    students: Sequence[StudentConfig],
) -> Passes:
    """Make what ``train`` and ``distill`` will ask of the cache, as one of the processes that were started for it.

    Args:
        context: the run.
        manifest: its images.
        config: the teacher; one that is to be fully fine-tuned has to be trained before its logits can be cached.
        views: what is looked at.
        students: those that will learn from it.

    Returns:
        How many images × views went through the model in all processes.

    Raises:
        UserError: as ``ViewCache.fill``; or there is nothing to cache before the teacher is trained.
    """
    passes = Passes()
    models = _cached_models(context, manifest, config)
    if not models:
        raise UserError("a fully fine-tuned teacher has nothing to cache before it is trained: run `pocketeva train`")
    for output, classifier in models:
        in_head_mode = config.mode == "head"
        learned = _learned_from_cache(output, config, students)
        asked = [(learned, views.count, context.working_size)] if learned else []
        asked.append((("val",), 1, context.working_size))
        if in_head_mode:
            asked.append((("calibration",), 1, None))
        for splits, count, size in asked:
            outputs_over_views(
                classifier,
                output,
                with_copies(manifest.usable(*splits), context.folder, size),
                count,
                ViewSpec.of(views, size),
                root=context.folder.cache,
                trainer=context.trainer,
                precision=_precision(context),
                passes=passes,
            )
    log.print(f"{passes.images_x_views:,} images × views computed, {passes.cached:,} were there")
    return passes


def check_cache(
    context: RunContext, manifest: Manifest, config: TeacherConfig, views: ViewsConfig, sample: int
) -> bool:
    """Run the live teacher over a sample of what is cached, and print how far the cache is from it.

    Args:
        context: the run.
        manifest: its images.
        config: the teacher.
        views: what is looked at.
        sample: how many images × views to compute again.

    Returns:
        Whether every shard's checksum is right and no difference is larger than rounding explains.

    Raises:
        UserError: nothing is cached for this teacher and these views.
    """
    found: dict[Path, Difference] = {}
    parts: dict[int | None, Manifest] = {
        context.working_size: with_copies(
            manifest.usable("train", "unlabeled", "val"), context.folder, context.working_size
        ),
        None: manifest.usable(*SPLITS),
    }
    for output, classifier in _cached_models(context, manifest, config):
        for size, part in parts.items():
            spec = ViewSpec.of(views, size)
            compiled = context.trainer.compile_frozen
            key = CacheKey.of(classifier, output, spec, _precision(context), compiled=compiled)
            if (context.folder.cache / key.folder_name).is_dir():
                cache = ViewCache(context.folder.cache, key)
                forward = forward_of(classifier, output, context.trainer, key.precision)
                found[cache.folder] = compare(cache, part, forward, classifier.spec, spec, sample)
    if not found:
        raise UserError(
            f"nothing is cached below {context.folder.cache} for this teacher and these views; `pocketeva train` and "
            "`pocketeva distill` make the cache, and so does `pocketeva cache build`"
        )
    for folder, difference in found.items():
        _show(folder, difference)
    return all(difference.passes for difference in found.values())


def _learned_from_cache(output: Output, config: TeacherConfig, students: Sequence[StudentConfig]) -> tuple[str, ...]:
    """The splits whose views are learned from this output in training, by the teacher's head or by students."""
    by_head = ("train",) if output == "features" else ()
    learning = any(student.loss != "labels" and student.live_from > 0 for student in students)
    students_ask = learning and (output == "logits" or config.mode == "head")
    return ("train", "unlabeled") if students_ask else by_head


def _cached_models(context: RunContext, manifest: Manifest, config: TeacherConfig) -> list[tuple[Output, Classifier]]:
    """The frozen models of a run whose outputs are cached, as far as they are there."""
    models: list[tuple[Output, Classifier]] = []
    if config.mode != "full":
        pl.seed_everything(context.seed, verbose=False)
        models.append(("features", starting_point(manifest, config)))
    folder = context.folder.teacher / "model"
    if config.mode != "head" and folder.is_dir():
        models.append(("logits", checkpoint.load(folder, manifest.labels)))
    return models


def _precision(context: RunContext) -> str:
    return resolve_precision(context.trainer, convolutional=False)


def _show(folder: Path, difference: Difference) -> None:
    counts = f"{difference.cached:,} images × views of the manifest, {difference.sampled:,} computed again"
    largest = f"{difference.largest:.3g} (up to {difference.allowed:.3g} is rounding)"
    console.print(f"{folder}: {counts}\n  largest difference {largest}: {difference.where}", soft_wrap=True)
    if difference.damaged:
        console.print(f"  damaged shards, made again when they are asked for:\n{listed(difference.damaged)}")
    if not difference.passes:
        console.print("  this is not what the teacher gives", soft_wrap=True)
