"""The student as a LightningModule. The teacher is not in it: batches hold the teacher's logits."""

import torch
from timm.optim import param_groups_weight_decay
from torch import Tensor

from distill.config import ACROSS_IMAGES, StudentConfig
from distill.losses import distillation_loss, labeled_loss
from fitting.module import Batch, FitModule
from models.classifier import Classifier, normalize
from models.decision import DecisionRule
from train.losses import Costs, probabilities, share_decided_alike


class StudentModule(FitModule):
    """A distillation loss against the teacher's logits for the same view, plus the labels' own loss.

    Batches hold ``image`` (uint8 [B, 3, S, S]), ``target`` [B, C], ``labeled`` [B], and, unless the labels are all
    that is learned, ``teacher`` (logits [B, C]).
    """

    def __init__(self, classifier: Classifier, config: StudentConfig, costs: Costs | None = None) -> None:
        groups = param_groups_weight_decay(classifier.model, config.fit.weight_decay)
        super().__init__(config.fit, groups, DecisionRule.of(classifier.labels))
        self.model = classifier.model
        self._spec = classifier.spec
        self._student = config
        if config.loss in ACROSS_IMAGES:
            self.whole = f"loss: {config.loss} compares the images of a batch with each other"
        self.register_buffer("costs", None if costs is None else torch.tensor(costs), persistent=False)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted sum, its two parts, and the share of images on which student and teacher decide alike.

        In validation also whether each labeled image is decided as its label says.
        """
        config = self._student
        rule = self.rule
        logits: Tensor = self.model(normalize(batch["image"], self._spec)).float()
        labels = labeled_loss(logits, batch["target"], batch["labeled"], rule, self._buffers["costs"])
        labeled = batch["labeled"].bool()
        # Not in training: whether a step was right is known on the host, and a GPU would wait for it.
        judged = {} if self.training else self.judged(logits[labeled], batch["target"][labeled])
        if config.loss == "labels":
            return {"loss": labels, "labels": labels, **judged}
        teacher = batch["teacher"]
        distilled = distillation_loss(config.loss, rule)(logits, teacher, config.temperature)
        agreement = share_decided_alike(probabilities(logits, rule), probabilities(teacher, rule), rule)
        total = distilled + config.label_weight * labels
        return {"loss": total, "distilled": distilled, "labels": labels, **judged, "agreement": agreement}
