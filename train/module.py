"""The teacher as a LightningModule, which learns from images."""

from typing import Any, Literal

import torch
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

from fitting.config import FitConfig
from fitting.module import Batch, FitModule
from models.classifier import Classifier, normalize
from models.decision import DecisionRule
from models.room import set_checkpointing
from models.spec import InputSpec
from train.losses import Costs, label_loss


class TeacherModule(FitModule):
    """Cross-entropy against labels, and what the labels said would cost.

    Args:
        model: normalized images to logits [B, C].
        spec: their input contract.
        class_weights: as the function of that name gives them.
        costs: of saying one label where another is true.
    """

    def __init__(
        self,
        model: nn.Module,
        config: FitConfig,
        groups: list[dict[str, Any]],
        *,
        spec: InputSpec,
        rule: DecisionRule,
        class_weights: Tensor,
        costs: Costs | None = None,
    ) -> None:
        super().__init__(config, groups, rule)
        self.model = model
        self._spec = spec
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.register_buffer("costs", None if costs is None else torch.tensor(costs), persistent=False)

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
        module = cls(model, config, groups, spec=classifier.spec, rule=rule, class_weights=class_weights, costs=costs)
        module.checkpointing = set_checkpointing(model, False) and checkpointing
        return module

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted loss, and for each image with one true label whether the whole decision is right."""
        logits: Tensor = self.model(normalize(batch["image"], self._spec)).float()
        targets = batch["target"]
        weights = self.get_buffer("class_weights")
        loss = label_loss(logits, targets, self.rule, weights=weights, costs=self._buffers["costs"]).mean()
        return {"loss": loss, **self.judged(logits, targets)}
