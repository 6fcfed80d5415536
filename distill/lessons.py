"""The lessons of a student: the examples it is shown, and who says what they are."""

from collections.abc import Sequence
from dataclasses import dataclass

from pytorch_lightning.callbacks import Callback

from cache.frozen import FrozenModel
from cache.passes import ViewPass, student_passes
from data.config import ViewsConfig
from data.examples import Examples
from data.loaders import EpochSampler, Render, ViewDataset
from data.manifest import Manifest
from distill.config import StudentConfig
from distill.teacher import LiveTeacher
from run.context import RunContext


@dataclass(frozen=True)
class Lessons:
    """Examples to learn from, their order, and examples to validate on."""

    learned: ViewDataset
    sampler: EpochSampler
    held_out: ViewDataset
    num_held_out: int
    callbacks: Sequence[Callback] = ()
    """A live teacher."""


def passes_for(config: StudentConfig, views: ViewsConfig) -> tuple[ViewPass, ViewPass]:
    """The passes that a student asks of its teacher."""
    return student_passes(views, live_only=config.live_from == 0)


def lessons_from_labels(context: RunContext, manifest: Manifest, views: ViewsConfig, render: Render) -> Lessons:
    """Fresh views of the labeled images; no teacher is asked."""
    learned = Examples.make_working_copies(manifest.usable("train"), views, context)
    held_out = Examples.make_working_copies(manifest.usable("val"), views, context)
    sampler = EpochSampler(len(learned), None, context.seed)
    return Lessons(ViewDataset(learned, render), sampler, ViewDataset(held_out, render), len(held_out))


def compute_lessons_from_teacher(
    context: RunContext,
    manifest: Manifest,
    config: StudentConfig,
    views: ViewsConfig,
    teacher: FrozenModel,
    render: Render,
) -> Lessons:
    """Views of all images: first cached ones, then fresh ones with a live teacher, as far as the config says.

    Whatever the cache lacks is computed here.
    """
    learning, validating = passes_for(config, views)
    learned = learning.make_examples(context, manifest, views)
    held_out = validating.make_examples(context, manifest, views)
    # Training views before validation ones, in the order of ``cache.passes``.
    known = teacher.compute_logits(learned, learning.views) if learning.views else None
    live = config.live_from < config.fit.epochs
    return Lessons(
        learned=ViewDataset(learned, render, known, teacher.classifier.spec.render if live else None),
        sampler=EpochSampler(len(learned), views.count, context.seed, fresh_from=config.live_from),
        held_out=ViewDataset(held_out, render, teacher.compute_logits(held_out, validating.views)),
        num_held_out=len(held_out),
        callbacks=[LiveTeacher(teacher.live_logits, config.mixup, context.seed)] if live else [],
    )
