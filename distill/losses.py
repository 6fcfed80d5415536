"""Losses of a student: pure functions of its logits and its teacher's [B, C], one value for a batch.

``temperature`` is T, which softens both; a factor T² keeps the gradient's size whatever T is.

To add one, write the function, give it a row in a table at the end, and name it in ``distill.config.Loss``.
"""

from collections.abc import Callable, Mapping

from torch import Tensor
from torch.nn.functional import cosine_similarity, kl_div, log_softmax, logsigmoid, one_hot

from distill.config import Loss
from models.decision import DecisionRule
from train.losses import label_loss

DKD_NON_TARGET_WEIGHT = 8.0
"""The paper's β on CIFAR-100: among the labels that are not the first choice lies most of what a teacher knows."""

STANDARDIZED_EPSILON = 1e-7


def labeled_loss(
    logits: Tensor, target: Tensor, labeled: Tensor, rule: DecisionRule, costs: Tensor | None = None
) -> Tensor:
    """``train.losses.label_loss`` in nats, averaged over the batch; unlabeled images add nothing.

    Args:
        target: [B, C]; zeros where there is no label.
        labeled: [B], 1 where there is a label and 0 where not.
    """
    return (label_loss(logits, target, rule, costs=costs) * labeled).mean()


def kl_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) in nats, both softened by T (Hinton 2015, arXiv 1503.02531), the batch's mean."""
    log_p = log_softmax(teacher / temperature, dim=1)
    log_q = log_softmax(student / temperature, dim=1)
    return kl_div(log_q, log_p, reduction="batchmean", log_target=True) * temperature**2


def binary_kl_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² · Σ KL(Bernoulli(teacher) ‖ Bernoulli(student)) in nats over the labels, both softened by T, the batch's mean.

    A sigmoid of each logit is its label's probability.
    """
    present, absent = (
        kl_div(
            logsigmoid(sign * student / temperature),
            logsigmoid(sign * teacher / temperature),
            reduction="batchmean",
            log_target=True,
        )
        for sign in (1, -1)
    )
    return (present + absent) * temperature**2


def standardized_kl_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``kl_divergence`` of each image's logits, less their mean and over their deviation (Sun et al. 2024, 2403.01427).

    The student learns the order and the relative gaps of the teacher's logits, not how sure it is, so a small one need
    not reach the teacher's range. Calibration comes afterwards, from the temperature.

    Args:
        temperature: deviations of 1 are divided by it.
    """
    return kl_divergence(_standardized(student), _standardized(teacher), temperature)


def _standardized(logits: Tensor) -> Tensor:
    return (logits - logits.mean(1, keepdim=True)) / (logits.std(1, keepdim=True) + STANDARDIZED_EPSILON)


def dist(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """DIST (Huang et al. 2022, arXiv 2205.10536): T² · (1 - r of an image's labels + 1 - r of a label's images).

    r is Pearson's correlation between the student's and the teacher's probabilities, each mean taken over the batch or
    the labels; a linear change of scale costs nothing. For students much smaller than their teacher.
    """
    q = (student / temperature).softmax(1)
    p = (teacher / temperature).softmax(1)
    between_labels = 1 - _correlation(q, p).mean()
    between_images = 1 - _correlation(q.T, p.T).mean()
    return temperature**2 * (between_labels + between_images)


def _correlation(left: Tensor, right: Tensor) -> Tensor:
    """Pearson's r of the rows of two matrices; 0 where a row is constant."""
    return cosine_similarity(left - left.mean(1, keepdim=True), right - right.mean(1, keepdim=True), dim=1)


def dkd(
    student: Tensor, teacher: Tensor, temperature: float, *, non_target_weight: float = DKD_NON_TARGET_WEIGHT
) -> Tensor:
    """DKD (Zhao et al. 2022, arXiv 2203.08679): T² · (KL of target against the rest + β · KL among the rest), the mean.

    The target is the teacher's first choice, so that unlabeled images count too; the paper takes the label. With β
    equal to the teacher's probability of the rest, this is ``kl_divergence``.

    Args:
        student: of at least 3 labels: of two, nothing is left among the rest.
        non_target_weight: β.
    """
    target = one_hot(teacher.argmax(1), teacher.shape[1]).bool()
    in_q, out_q, rest_q = _decoupled(student / temperature, target)
    in_p, out_p, rest_p = _decoupled(teacher / temperature, target)
    of_target = in_p.exp() * (in_p - in_q) + out_p.exp() * (out_p - out_q)
    among_rest = (rest_p.exp() * (rest_p - rest_q)).masked_fill(target, 0).sum(1)
    return temperature**2 * (of_target + non_target_weight * among_rest).mean()


def _decoupled(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of the target [B], of all others together [B], and of each other among them [B, C]."""
    others = logits.masked_fill(target, float("-inf"))
    gap = (logits * target).sum(1) - others.logsumexp(1)
    # Not minus infinity, whose gradient is NaN: small enough to weigh nothing among the others.
    among = log_softmax(logits.masked_fill(target, -1e4), dim=1)
    return logsigmoid(gap), logsigmoid(-gap), among


DistillationLoss = Callable[[Tensor, Tensor, float], Tensor]
"""Student logits [B, C], teacher logits [B, C] and a temperature to a scalar."""


LOSSES: Mapping[Loss, DistillationLoss] = {
    "kl": kl_divergence,
    "standardized_kl": standardized_kl_divergence,
    "dist": dist,
    "dkd": dkd,
}
"""Where exactly one label applies to an image, by ``students[].loss``; ``labels`` asks no teacher and has none."""

MULTILABEL_LOSSES: Mapping[Loss, DistillationLoss] = {"kl": binary_kl_divergence}
"""Where each label applies by itself."""


def distillation_loss(name: Loss, rule: DecisionRule) -> DistillationLoss:
    """The function for a label set; the config has refused what is not defined for it."""
    losses = LOSSES if rule.exclusive else MULTILABEL_LOSSES
    assert name in losses, f"{name} is refused for multilabel sets"
    return losses[name]
