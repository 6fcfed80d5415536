"""Whether a model can take images of the size it was asked to, found out before any work."""

import torch
from torch import nn

from run.errors import UserError


def require_size(model: nn.Module, size: int, *, key: str) -> None:
    """Run a model in eval mode on the shape of one image [1, 3, S, S], without any numbers.

    Args:
        model: left as it is.
        size: S, in pixels.
        key: the config section, for the message.

    Raises:
        UserError: the model cannot take that size.
    """
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: tensor.detach().to("meta") for name, tensor in tensors.items()}
    training = model.training
    try:
        with torch.no_grad():
            torch.func.functional_call(model.eval(), shapes, torch.empty(1, 3, size, size, device="meta"))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{key}.image_size: the model cannot take images of {size} x {size} pixels: {reason}"
        ) from error
    finally:
        model.train(training)
