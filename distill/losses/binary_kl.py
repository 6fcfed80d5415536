"""For labels that apply each by itself: the divergence of one coin per label."""

from torch import Tensor
from torch.nn.functional import kl_div, logsigmoid


def binary_kl_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² · Σ KL(Bernoulli(teacher) ‖ Bernoulli(student)) in nats over the labels, both softened by T, the batch's mean.

    Args:
        student: logits [B, C], a sigmoid of each is the label's probability.
        teacher: logits [B, C].
        temperature: T; the factor T² keeps the gradient's size whatever T is.
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
