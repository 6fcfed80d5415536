"""The student as a LightningModule. The teacher is not in it: batches hold what the teacher said."""

import torch
from timm.optim import param_groups_weight_decay
from torch import Tensor

from distill.config import StudentConfig
from distill.losses.binary_kl import binary_kl_divergence
from distill.losses.kl import kl_divergence
from distill.losses.labels import labelled_loss
from models.classifier import Classifier, normalise
from models.outputs import exclusive
from run.fit import Batch, FitModule
from train.losses import activated, share_alike
from train.module import Costs


class StudentModule(FitModule):
    """KL to the teacher's logits for the same view, plus the labels' own loss on labelled images.

    Batches hold ``image`` (uint8 [B, 3, S, S]), ``teacher`` (logits [B, C]), ``target`` [B, C] and ``labelled`` [B].
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
        logits: Tensor = self.model(normalise(batch["image"], self._spec)).float()
        teacher, kind = batch["teacher"], self._kind
        divergence = kl_divergence if exclusive(kind) else binary_kl_divergence
        kl = divergence(logits, teacher, self._student.temperature)
        labels = labelled_loss(logits, batch["target"], batch["labelled"], kind, self._buffers["costs"])
        agreement = share_alike(activated(logits, kind), activated(teacher, kind), kind)
        return {"loss": kl + self._student.label_weight * labels, "kl": kl, "labels": labels, "agreement": agreement}
