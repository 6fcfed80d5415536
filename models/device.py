"""The device, the threads and the numerical precision that a model runs in."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from run.config import TrainerConfig
from run.ranks import local_rank


def device_of(trainer: TrainerConfig) -> torch.device:
    """The device that Lightning would take for this config and this process."""
    if trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        devices = trainer.devices if isinstance(trainer.devices, list) else range(torch.cuda.device_count())
        return torch.device("cuda", devices[local_rank() % len(devices)])
    if trainer.accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread while the block runs, also in threads that the block starts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def precision_for(model: nn.Module, trainer: TrainerConfig) -> str:
    """Lightning's name for the precision that suits a model."""
    return resolve_precision(trainer, convolutional=is_convolutional(model))


def is_convolutional(model: nn.Module) -> bool:
    """True where most weights are in convolutions."""
    convolutions = sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Conv2d))
    linear = sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))
    return convolutions > linear


def resolve_precision(trainer: TrainerConfig, *, convolutional: bool) -> str:
    """The precision that the config asks for; ``auto`` is bf16 where the hardware computes faster in it.

    On a CPU that means one with AMX tiles, and transformers only: convolutions train slower in bf16 there
    (``docs/log.md`` has the measurement).
    """
    if trainer.precision != "auto":
        return trainer.precision
    device = device_of(trainer).type
    if device == "cuda":
        faster = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        faster = device == "cpu" and torch.cpu._is_amx_tile_supported() and not convolutional
    return "bf16-mixed" if faster else "32-true"
