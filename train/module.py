"""The fit of a teacher on images, of all that its mode trains there: the module, and what it learns from."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from timm.optim import param_groups_layer_decay
from torch import Tensor

from data.examples import Examples
from data.loaders import EpochSampler, ViewDataset, train_loader, whole_image_loader
from fitting.callbacks import publishing
from fitting.config import FitConfig
from fitting.fit import FitRequest
from fitting.module import Batch, FitModule
from models.adapting import Adapted, merged_copy
from models.classifier import Classifier, normalize
from models.decision import DecisionRule
from models.device import precision_for
from models.room import set_checkpointing
from run.context import RunContext
from run.ranks import this_rank
from train.config import TeacherConfig
from train.losses import Costs, class_weights, label_loss


class TeacherModule(FitModule):
    """Cross-entropy against labels, and what the labels said would cost.

    All weights that require gradients are trained, those of earlier layers at lower learning rates. Batches hold
    ``image`` (uint8 [B, 3, S, S]) and ``target`` [B, C].

    Args:
        class_weights: as the function of that name gives them.
        costs: of saying one label where another is true.
    """

    def __init__(
        self,
        classifier: Classifier,
        config: FitConfig,
        class_weights: Tensor,
        layer_decay: float,
        costs: Costs | None = None,
        checkpointing: bool | Literal["auto"] = False,
    ) -> None:
        model: Any = classifier.model
        never = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
        groups = param_groups_layer_decay(
            model, config.weight_decay, no_weight_decay_list=never, layer_decay=layer_decay
        )
        super().__init__(config, groups, DecisionRule.of(classifier.labels))
        self.model = classifier.model
        self._spec = classifier.spec
        self.checkpointing = set_checkpointing(model, False) and checkpointing
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.register_buffer("costs", None if costs is None else torch.tensor(costs), persistent=False)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted loss, and for each image with one true label whether the whole decision is right."""
        logits: Tensor = self.model(normalize(batch["image"], self._spec)).float()
        targets = batch["target"]
        weights = self.get_buffer("class_weights")
        loss = label_loss(logits, targets, self.rule, weights=weights, costs=self._buffers["costs"]).mean()
        return {"loss": loss, **self.judged(logits, targets)}


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
        module=TeacherModule(teacher, wanted, weights, layer_decay, costs, wanted.grad_checkpointing),
        learned=train_loader(ViewDataset(learned, teacher.spec.render), sampler, **loading),
        held_out=whole_image_loader(whole, len(held_out), rank=this_rank(), **loading),
        name="teacher",
        folder=folder,
        precision=precision_for(teacher.model, context.trainer),
        callbacks=publishing(context, "teacher", plain, folder / "best"),
    )
