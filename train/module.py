"""The teacher as a LightningModule: all of it on images, or its head on cached features."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import Tensor, nn
from torch.nn import functional

from data.labels import LabelSet
from models.classifier import Classifier, normalise
from models.spec import InputSpec
from run.config import FitConfig
from run.fit import Batch, FitModule


class TeacherModule(FitModule):
    """Soft cross-entropy against label distributions.

    Args:
        model: features or images to logits [B, C].
        config: the optimisation.
        groups: AdamW's parameter groups.
        class_weights: factor per label [C] on its share of the loss.
        spec: for images, their input contract; null where batches hold features.
    """

    def __init__(
        self,
        model: nn.Module,
        config: FitConfig,
        groups: list[dict[str, Any]],
        class_weights: Tensor,
        spec: InputSpec | None,
    ) -> None:
        super().__init__(config, groups)
        self.model = model
        self._spec = spec
        self.register_buffer("class_weights", class_weights, persistent=False)

    @classmethod
    def of_head(cls, classifier: Classifier, config: FitConfig, class_weights: Tensor) -> "TeacherModule":
        """The last layer alone; batches hold ``features`` [B, D]."""
        head = classifier.head
        groups = param_groups_weight_decay(head, config.weight_decay)
        return cls(head, config, groups, class_weights, None)

    @classmethod
    def of_all(
        cls, classifier: Classifier, config: FitConfig, class_weights: Tensor, layer_decay: float
    ) -> "TeacherModule":
        """Every layer, earlier ones at lower learning rates; batches hold ``image`` (uint8 [B, 3, S, S])."""
        model: Any = classifier.model
        never = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
        groups = param_groups_layer_decay(
            model, config.weight_decay, no_weight_decay_list=never, layer_decay=layer_decay
        )
        return cls(model, config, groups, class_weights, classifier.spec)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted soft cross-entropy in nats, and top-1 accuracy against the likeliest label."""
        inputs = batch["features"] if self._spec is None else normalise(batch["image"], self._spec)
        logits: Tensor = self.model(inputs).float()
        weights = self.get_buffer("class_weights")
        loss = functional.cross_entropy(logits, batch["target"], weight=weights)
        accuracy = (logits.argmax(1) == batch["target"].argmax(1)).float().mean()
        return {"loss": loss, "accuracy": accuracy}


def class_weights(targets: NDArray[np.float32], weighting: str, labels: LabelSet) -> Tensor:
    """Weight per label [C], scaled so that the mean weight over the training images is 1.

    Args:
        targets: distributions [N, C] of the training images.
        weighting: ``none``, ``sqrt`` or ``balanced``.
        labels: the label set.
    """
    frequency = targets.mean(0)
    assert (frequency > 0).all(), f"prepare refuses a label without training images: {labels.names}"
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[weighting]
    weights = frequency**-power
    return torch.from_numpy((weights / (weights * frequency).sum()).astype(np.float32))
