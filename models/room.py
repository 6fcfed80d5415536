"""A look at a GPU's memory before work that would end in it."""

import torch
from torch import nn

from models.classifier import Classifier
from run.errors import UserError

STATES = 3
"""Numbers held beside each weight and its gradient: AdamW's two moments, and an average of the weights."""


def require_room(
    classifier: Classifier, device: torch.device, key: str, *, precision: str, may_checkpoint: bool = False
) -> None:
    """Train on one image, without a step, on a GPU that has to hold all that an optimizer will.

    Args:
        classifier: only its weights that require gradients are trained; none is changed.
        device: nothing is asked of a CPU.
        may_checkpoint: activations may be computed again.
    """
    if device.type == "cpu" or holds_one_image(classifier, device, precision, may_checkpoint):
        return
    raise UserError(
        f"{key}.model: training {classifier.architecture} on a single image of {classifier.spec.size} pixels takes "
        "more memory than this GPU has free: choose a smaller model or image_size, a mode that trains less "
        "(teacher.mode: lora, last_blocks, head), or another GPU"
    )


def holds_one_image(classifier: Classifier, device: torch.device, precision: str, may_checkpoint: bool) -> bool:
    """True where a forward and a backward pass over one image end well."""
    model = classifier.model
    before = model.training
    size = classifier.spec.size
    checkpointing = may_checkpoint and set_checkpointing(model, True)
    try:
        # In eval mode: batch norms need no second image there, and keep their statistics.
        model.eval().to(device)
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        held = [torch.empty_like(weight) for weight in weights for _ in range(STATES)]
        images = torch.zeros(1, 3, size, size, dtype=torch.uint8, device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            loss = model(classifier.normalize(images)).sum()
        loss.backward()
        del held
    except torch.OutOfMemoryError:
        return False
    finally:
        model.zero_grad()
        model.train(before)
        if checkpointing:
            set_checkpointing(model, False)
        torch.cuda.empty_cache()
    return True


def set_checkpointing(model: nn.Module, on: bool) -> bool:
    """Turn timm's activation checkpointing on or off; false where the model has none."""
    try:
        model.set_grad_checkpointing(on)  # type: ignore[operator]
    except (AssertionError, AttributeError):
        return False
    return True
