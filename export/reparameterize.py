"""Fusing of branches: RepViT, MobileOne and FastViT run as one branch where they were trained as many."""

import copy
import dataclasses

import torch
from timm.utils.model import reparameterize_model

from models.classifier import Classifier
from run.errors import UserError

TOLERANCE = 1e-3
"""Largest difference of a logit, relative to the largest logit, before and after."""


def fuse(classifier: Classifier) -> Classifier:
    """The same classifier with every reparameterizable block fused; what has none comes back as it is.

    Raises:
        UserError: the fused model does not give the same logits.
    """
    model = classifier.model.cpu().eval()
    if not any(hasattr(module, name) for module in model.modules() for name in ("fuse", "reparameterize")):
        return classifier
    fused = reparameterize_model(copy.deepcopy(model)).eval()
    size = classifier.spec.size
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = model(images)
        after = fused(images)
    if not torch.allclose(before, after, rtol=TOLERANCE, atol=TOLERANCE * before.abs().max().item()):
        difference = (before - after).abs().max().item()
        raise UserError(
            f"{classifier.architecture} gives other logits once its branches are fused: by {difference:.2g}"
        )
    return dataclasses.replace(classifier, model=fused)
