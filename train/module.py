"""The teacher as a LightningModule: all of it on images, or its head on cached features."""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import Tensor, nn

from data.labels import LabelSet
from fitting.config import FitConfig
from fitting.module import Batch, FitModule
from models.classifier import Classifier, normalize
from models.decision import DecisionRule
from models.room import set_checkpointing
from models.spec import InputSpec
from train.losses import label_loss

Costs = list[list[float]]
"""``labels.costs``: [C][C]."""


class TeacherModule(FitModule):
    """Cross-entropy against labels, and what the labels said would cost.

    Args:
        model: features or images to logits [B, C].
        class_weights: as the function of that name gives them.
        costs: of saying one label where another is true.
        spec: for images, their input contract; null where batches hold features.
    """

    def __init__(
        self,
        model: nn.Module,
        config: FitConfig,
        groups: list[dict[str, Any]],
        *,
        rule: DecisionRule,
        class_weights: Tensor,
        costs: Costs | None = None,
        spec: InputSpec | None = None,
    ) -> None:
        super().__init__(config, groups, rule)
        self.model = model
        self._spec = spec
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.register_buffer("costs", None if costs is None else torch.tensor(costs), persistent=False)

    @classmethod
    def of_head(
        cls, classifier: Classifier, config: FitConfig, class_weights: Tensor, costs: Costs | None = None
    ) -> "TeacherModule":
        """The last layer alone; batches hold ``features`` [B, D]."""
        head = classifier.head
        groups = param_groups_weight_decay(head, config.weight_decay)
        rule = DecisionRule.of(classifier.labels)
        return cls(head, config, groups, rule=rule, class_weights=class_weights, costs=costs)

    @classmethod
    def of_images(
        cls,
        classifier: Classifier,
        config: FitConfig,
        class_weights: Tensor,
        layer_decay: float,
        costs: Costs | None = None,
        checkpointing: bool | Literal["auto"] = False,
    ) -> "TeacherModule":
        """All weights that require gradients, those of earlier layers at lower learning rates.

        Batches hold ``image`` (uint8 [B, 3, S, S]).
        """
        model: Any = classifier.model
        never = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
        groups = param_groups_layer_decay(
            model, config.weight_decay, no_weight_decay_list=never, layer_decay=layer_decay
        )
        rule = DecisionRule.of(classifier.labels)
        module = cls(model, config, groups, rule=rule, class_weights=class_weights, costs=costs, spec=classifier.spec)
        module.checkpointing = set_checkpointing(model, False) and checkpointing
        return module

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted loss, and for each image with one true label whether the whole decision is right."""
        inputs = batch["features"] if self._spec is None else normalize(batch["image"], self._spec)
        logits: Tensor = self.model(inputs).float()
        targets = batch["target"]
        weights = self.get_buffer("class_weights")
        loss = label_loss(logits, targets, self.rule, weights=weights, costs=self._buffers["costs"]).mean()
        return {"loss": loss, **self.judged(logits, targets)}


def class_weights(targets: NDArray[np.float32], weighting: str, labels: LabelSet) -> Tensor:
    """Weight per label, scaled so that the mean weight over the training images is 1.

    Each label of a multilabel set is a problem of its own with two classes, absent and present.

    Args:
        targets: of the labeled training images [N, C].
        weighting: ``none``, ``sqrt`` or ``balanced``.

    Returns:
        [C]; for multilabel sets [2, C], of absence and of presence.
    """
    present = targets.mean(0)
    assert (present > 0).all(), f"prepare refuses a label without training images: {labels.names}"
    frequency = present if labels.exclusive else np.stack([1 - present, present])
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[weighting]
    # Absence may never occur in a multilabel set: its weight is then 0, and the floor keeps the power finite.
    weights = np.maximum(frequency, np.finfo(np.float32).tiny) ** -power
    return torch.from_numpy((weights * (frequency > 0) / (weights * frequency).sum(0)).astype(np.float32))
