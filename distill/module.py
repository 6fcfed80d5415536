"""The student as a LightningModule. The teacher is not in it: batches hold what the teacher said."""

from timm.optim import param_groups_weight_decay
from torch import Tensor

from distill.config import StudentConfig
from distill.losses import kl_divergence, labelled_cross_entropy
from models.classifier import Classifier, normalise
from run.fit import Batch, FitModule


class StudentModule(FitModule):
    """KL to the teacher's logits for the same view, plus cross-entropy on labelled images.

    Batches hold ``image`` (uint8 [B, 3, S, S]), ``teacher`` (logits [B, C]), ``target`` [B, C] and ``labelled`` [B].
    """

    def __init__(self, classifier: Classifier, config: StudentConfig) -> None:
        super().__init__(config.fit, param_groups_weight_decay(classifier.model, config.fit.weight_decay))
        self.model = classifier.model
        self._spec = classifier.spec
        self._student = config

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted sum, its two parts, and top-1 agreement with the teacher."""
        logits: Tensor = self.model(normalise(batch["image"], self._spec)).float()
        teacher = batch["teacher"]
        kl = kl_divergence(logits, teacher, self._student.temperature)
        labels = labelled_cross_entropy(logits, batch["target"], batch["labelled"])
        agreement = (logits.argmax(1) == teacher.argmax(1)).float().mean()
        return {"loss": kl + self._student.label_weight * labels, "kl": kl, "labels": labels, "agreement": agreement}
