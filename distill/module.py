"""The student as a LightningModule. The teacher is not in it: batches hold what the teacher said."""

from collections.abc import Callable, Mapping

import torch
from timm.optim import param_groups_weight_decay
from torch import Tensor

from distill.config import StudentConfig
from distill.losses.binary_kl import binary_kl_divergence
from distill.losses.dist import dist
from distill.losses.dkd import dkd
from distill.losses.kl import kl_divergence
from distill.losses.labels import labeled_loss
from distill.losses.standardized_kl import standardized_kl_divergence
from fitting.fit import Batch, FitModule
from models.classifier import Classifier, normalize
from models.outputs import exclusive
from train.losses import activated, share_alike
from train.module import Costs

LOSSES: Mapping[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "kl": kl_divergence,
    "standardized_kl": standardized_kl_divergence,
    "dist": dist,
    "dkd": dkd,
}
"""By ``students[].loss``, where labels exclude each other: of student and teacher logits [B, C] and a temperature."""


class StudentModule(FitModule):
    """A distillation loss against the teacher's logits for the same view, plus the labels' own loss.

    Batches hold ``image`` (uint8 [B, 3, S, S]), ``target`` [B, C], ``labeled`` [B], and, unless the labels are all
    that is learned, ``teacher`` (logits [B, C]).
    """

    def __init__(self, classifier: Classifier, config: StudentConfig, costs: Costs | None = None) -> None:
        super().__init__(config.fit, param_groups_weight_decay(classifier.model, config.fit.weight_decay))
        self.model = classifier.model
        self._spec = classifier.spec
        self._kind = classifier.labels.kind
        self._student = config
        self.register_buffer("costs", None if costs is None else torch.tensor(costs), persistent=False)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted sum, its two parts, and the share of images on which student and teacher decide alike."""
        config, kind = self._student, self._kind
        logits: Tensor = self.model(normalize(batch["image"], self._spec)).float()
        labels = labeled_loss(logits, batch["target"], batch["labeled"], kind, self._buffers["costs"])
        if config.loss == "labels":
            return {"loss": labels, "labels": labels}
        teacher = batch["teacher"]
        loss = LOSSES[config.loss] if exclusive(kind) else binary_kl_divergence
        distilled = loss(logits, teacher, config.temperature)
        agreement = share_alike(activated(logits, kind), activated(teacher, kind), kind)
        total = distilled + config.label_weight * labels
        return {"loss": total, "distilled": distilled, "labels": labels, "agreement": agreement}
