"""The fit of a teacher on images: of all that its mode trains there."""

from dataclasses import replace
from pathlib import Path

from data.examples import Examples
from data.loaders import EpochSampler, ViewDataset, train_loader, whole_image_loader
from fitting.callbacks import publishing
from fitting.fit import FitRequest
from models.adapting import Adapted, merged_copy
from models.classifier import Classifier
from models.device import precision_for
from run.context import RunContext
from run.ranks import this_rank
from train.config import TeacherConfig
from train.losses import Costs, class_weights
from train.module import TeacherModule


def images_request(
    context: RunContext,
    config: TeacherConfig,
    teacher: Classifier,
    learned: Examples,
    held_out: Examples,
    costs: Costs | None,
    folder: Path,
    adapted: Adapted | None,
) -> FitRequest:
    """The fit of the weights that require gradients, on fresh views of the images.

    Args:
        adapted: the teacher's model with its adapters, where its mode adds some.
    """
    wanted = config.on_images
    loading = {"batch_size": wanted.batch_size, "workers": context.trainer.workers}
    sampler = EpochSampler(len(learned), None, context.seed)
    whole = ViewDataset(held_out, teacher.spec.render)
    weights = class_weights(learned.rows.targets(), config.class_weighting, teacher.labels)
    layer_decay = 1.0 if config.mode == "lora" else config.layer_decay

    def plain() -> Classifier:
        """The teacher as anybody can load it."""
        return teacher if adapted is None else replace(teacher, model=merged_copy(adapted))

    return FitRequest(
        module=TeacherModule.of_images(teacher, wanted, weights, layer_decay, costs, wanted.grad_checkpointing),
        learned=train_loader(ViewDataset(learned, teacher.spec.render), sampler, **loading),
        held_out=whole_image_loader(whole, len(held_out), rank=this_rank(), **loading),
        name="teacher",
        folder=folder,
        precision=precision_for(teacher.model, context.trainer),
        micro_batch=context.trainer.micro_batch,
        callbacks=publishing(context, "teacher", plain, folder / "best"),
    )
