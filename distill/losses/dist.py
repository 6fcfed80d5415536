"""Correlation instead of equality: for students much smaller than their teacher."""

from torch import Tensor
from torch.nn.functional import cosine_similarity


def dist(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """DIST (Huang et al. 2022, arXiv 2205.10536): T² · (1 - r of an image's labels + 1 - r of a label's images).

    r is Pearson's correlation between the student's and the teacher's probabilities, each mean taken over the batch or
    the labels; a linear change of scale costs nothing.

    Args:
        student: logits [B, C].
        teacher: logits [B, C].
        temperature: T, of both softmaxes.
    """
    q, p = (student / temperature).softmax(1), (teacher / temperature).softmax(1)
    between_labels = 1 - _correlation(q, p).mean()
    between_images = 1 - _correlation(q.T, p.T).mean()
    return temperature**2 * (between_labels + between_images)


def _correlation(left: Tensor, right: Tensor) -> Tensor:
    """Pearson's r of the rows of two matrices; 0 where a row is constant."""
    return cosine_similarity(left - left.mean(1, keepdim=True), right - right.mean(1, keepdim=True), dim=1)
