"""A training step in a plain loop, without Lightning, for figures of nothing but the step."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fitting.callbacks import decay_at
from fitting.config import FitConfig
from fitting.module import Batch
from models.classifier import Classifier
from models.device import device_of, precision_for
from models.facts import Mode
from run.config import TrainerConfig
from train.config import TeacherConfig
from train.modes import choose_weights
from train.module import TeacherModule

Loss: TypeAlias = Callable[[Batch], Tensor]
Step: TypeAlias = Callable[[Batch, float], None]
"""Takes a batch, and the share of the highest learning rate that is due."""


def steps_of(model: nn.Module, loss: Loss, config: FitConfig, trainer: TrainerConfig) -> Step:
    """AdamW on a convolutional student's loss, on the product's device, in its precision and memory format."""
    device = device_of(trainer)
    model.requires_grad_(True).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(param_groups_weight_decay(model, config.weight_decay), lr=config.lr)
    lower = precision_for(model, trainer) == "bf16-mixed"

    def step(batch: Batch, share: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = config.lr * share
        with torch.autocast(device.type, torch.bfloat16, enabled=lower):
            value = loss(on(device, batch))
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


class Average:
    """The product's average of a model's weights and buffers; the weights as they are where ``ema_decay`` is null."""

    def __init__(self, model: nn.Module, config: FitConfig) -> None:
        self._model = model
        self._decay = 0.0 if config.ema_decay is None else config.ema_decay
        self._average = AveragedModel(model, multi_avg_fn=self._blend, use_buffers=True)
        self._step = 0

    def update(self) -> None:
        """Take in the weights after a step."""
        self._step += 1
        self._average.update_parameters(self._model)

    def put_in_place(self) -> None:
        """Give the model the averaged weights."""
        self._model.load_state_dict(self._average.module.state_dict())

    def _blend(self, averages: Any, current: Any, count: Any) -> None:
        get_ema_multi_avg_fn(decay_at(self._step, self._decay))(averages, current, count)  # type: ignore[no-untyped-call]


def teacher_in(mode: Mode, classifier: Classifier, *, checkpointing: bool) -> TeacherModule:
    """The product's own module for training a teacher on images, with its defaults for the mode."""
    config = TeacherConfig(mode=mode)
    choose_weights(classifier, config)
    weights = torch.ones(len(classifier.labels))
    module = TeacherModule(classifier, config.on_images, weights, config.layer_decay)
    module.checkpoint_activations(checkpointing)
    return module


def optimizer_of(module: TeacherModule) -> torch.optim.Optimizer:
    """AdamW on the weights that the module trains."""
    return torch.optim.AdamW([{key: group[key] for key in ("params", "weight_decay")} for group in module._groups])


def on(device: torch.device, batch: Batch) -> Batch:
    """The batch with its tensors on a device."""
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }
