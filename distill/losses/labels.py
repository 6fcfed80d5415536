"""The labels themselves, on images that have them."""

from torch import Tensor

from data.config import Kind
from train.losses import label_loss


def labeled_loss(logits: Tensor, target: Tensor, labeled: Tensor, kind: Kind, costs: Tensor | None = None) -> Tensor:
    """``train.losses.label_loss`` in nats, averaged over the batch; unlabeled images add nothing.

    Args:
        logits: [B, C].
        target: [B, C]; zeros where there is no label.
        labeled: [B], 1 where there is a label and 0 where not.
        kind: of the labels.
        costs: of saying one label where another is true [C, C].
    """
    return (label_loss(logits, target, kind, costs=costs) * labeled).mean()
