"""For labels of which exactly one applies: the divergence of two distributions."""

from torch import Tensor
from torch.nn.functional import kl_div, log_softmax


def kl_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) in nats, both softened by T (Hinton et al. 2015, arXiv 1503.02531), the batch's mean.

    Args:
        student: logits [B, C].
        teacher: logits [B, C].
        temperature: T; the factor T² keeps the gradient's size whatever T is.
    """
    log_p = log_softmax(teacher / temperature, dim=1)
    log_q = log_softmax(student / temperature, dim=1)
    return kl_div(log_q, log_p, reduction="batchmean", log_target=True) * temperature**2
