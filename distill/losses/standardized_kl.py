"""Divergence of logits after taking out their scale: a small student need not reach the teacher's range."""

from torch import Tensor

from distill.losses.kl import kl_divergence

EPSILON = 1e-7


def standardized_kl_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``kl_divergence`` of each image's logits, less their mean and over their deviation (Sun et al. 2024, 2403.01427).

    The student learns the order and the relative gaps of the teacher's logits, not how sure it is: calibration comes
    afterwards, from the temperature.

    Args:
        student: logits [B, C].
        teacher: logits [B, C].
        temperature: T; deviations of 1 are divided by it.
    """
    return kl_divergence(_standardized(student), _standardized(teacher), temperature)


def _standardized(logits: Tensor) -> Tensor:
    return (logits - logits.mean(1, keepdim=True)) / (logits.std(1, keepdim=True) + EPSILON)
