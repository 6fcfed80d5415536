"""Decoupled distillation: what the teacher says of its first choice, and what it says of the others, weighed apart."""

from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid, one_hot

NON_TARGET_WEIGHT = 8.0
"""The paper's β on CIFAR-100: among the labels that are not the first choice lies most of what a teacher knows."""


def dkd(
    student: Tensor, teacher: Tensor, temperature: float, *, non_target_weight: float = NON_TARGET_WEIGHT
) -> Tensor:
    """DKD (Zhao et al. 2022, arXiv 2203.08679): T² · (KL of target against the rest + β · KL among the rest), the mean.

    The target is the teacher's first choice, so that unlabeled images count too; the paper takes the label. With β
    equal to the teacher's probability of the rest, this is ``kl_divergence``.

    Args:
        student: logits [B, C], with C at least 3 (of two labels, nothing is left among the rest).
        teacher: logits [B, C].
        temperature: T.
        non_target_weight: β.
    """
    target = one_hot(teacher.argmax(1), teacher.shape[1]).bool()
    parts = [_decoupled(logits / temperature, target) for logits in (student, teacher)]
    (in_q, out_q, rest_q), (in_p, out_p, rest_p) = parts
    of_target = in_p.exp() * (in_p - in_q) + out_p.exp() * (out_p - out_q)
    among_rest = (rest_p.exp() * (rest_p - rest_q)).masked_fill(target, 0).sum(1)
    return temperature**2 * (of_target + non_target_weight * among_rest).mean()


def _decoupled(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of the target [B], of all others together [B], and of each other among them [B, C]."""
    others = logits.masked_fill(target, float("-inf"))
    gap = (logits * target).sum(1) - others.logsumexp(1)
    among = log_softmax(logits.masked_fill(target, -1e4), dim=1)
    return logsigmoid(gap), logsigmoid(-gap), among
